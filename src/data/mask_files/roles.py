"""Which files below a folder are images and which are masks, by what folders and files are called. Imports no torch.

Understood are images/ and masks/, each with split folders or without; split folders with both in them; train and
train_labels; VOC's JPEGImages and SegmentationClass; Cityscapes' leftImg8bit and gtFine; and masks beside their images.
"""

import os
import re
from dataclasses import dataclass

from src.data.folders.split_names import split_and_rest, split_of

IMAGE_WORDS = frozenset(
    "image images img imgs jpegimages leftimg8bit rgb photo photos frames input inputs".split()  # noqa: SIM905
)
MASK_WORDS = frozenset(
    "mask masks label labels labelids labeltrainids annotation annotations annot annots gt gts gtfine gtcoarse "  # noqa: SIM905
    "groundtruth segmentationclass segmentationclassaug seg segs segmentation segmentations semantic target "
    "targets".split()
)
OTHER_WORDS = frozenset(["segmentationobject", "instance", "instances", "visualization", "overlay", "overlays"])
# Behind the stem of a mask, where it is not called exactly like its image; and behind that of an image.
OF_MASKS = re.compile(
    r"[_.-]?(gtfine|gtcoarse)?[_.-](mask|masks|gt|label|labels|labelids|labeltrainids|seg|segmentation|"
    r"groundtruth|annotation|manual1|l|p)$",
    re.IGNORECASE,
)
OF_IMAGES = re.compile(r"[_.-](leftimg8bit|image|img|rgb|sat)$", re.IGNORECASE)
# Pictures of masks, and masks of instances, beside those of classes.
OF_NEITHER = re.compile(r"[_.-](color|colors|colour|instanceids|instancetrainids|overlay|instances?)$", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """What a path below data.root says of a file: `role` (image, mask, other, or "" where no folder tells), `split`,
    the other `folders`, the file's `stem`.
    """

    path: str
    role: str
    split: str
    folders: tuple[str, ...]
    stem: str


def place_of(path: str, below: str = "") -> Place:
    """`below`: the folder that is known to hold images or masks, and says nothing itself; with / at its end."""
    *folders, name = path[len(below) :].split("/")
    role = split = ""
    rest = list[str]()
    for folder in folders:
        own_role, own_split, others = meaning_of(folder)
        role, split = own_role or role, own_split or split
        rest += [others] if others else []
    return Place(path, role, split, tuple(rest), os.path.splitext(name)[0])  # noqa: PTH122


def meaning_of(folder: str) -> tuple[str, str, str]:
    """Role, split, and what else a folder's name says."""
    if role := role_of(folder):
        return role, "", ""
    if split := split_of(folder):
        return role_in(folder), split, ""
    split, rest = split_and_rest(folder)
    if split and (role := role_of(rest)):
        return role, split, ""
    if glued := re.fullmatch(r"(train|val|test)(annot|masks?|labels?|gt)", folder, re.IGNORECASE):
        return "mask", glued[1].lower(), ""
    return "", "", folder.casefold()


def role_of(name: str) -> str:
    text = re.sub(r"[\s_-]+", "", name.casefold())
    for role, words in (("image", IMAGE_WORDS), ("mask", MASK_WORDS), ("other", OTHER_WORDS)):
        if text in words:
            return role
    return ""


def role_in(name: str) -> str:
    """Of train_images, whose `images` is no word that a split's name would have to be rid of."""
    words = re.findall(r"[a-z]+", name.casefold())
    return "image" if any(word in IMAGE_WORDS for word in words) else ""


def core_of_mask(stem: str, suffix: str | None) -> str | None:
    """The stem without what masks have behind it; None if it has not the `suffix` that is asked for."""
    if suffix is not None:
        if not stem.endswith(suffix) or stem == suffix:
            return None
        return re.sub(r"[_.-]?(gtfine|gtcoarse)$", "", stem[: len(stem) - len(suffix)], flags=re.IGNORECASE)
    return OF_MASKS.sub("", stem)


def core_of_image(stem: str) -> str:
    return OF_IMAGES.sub("", stem)

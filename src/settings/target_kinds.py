"""The words of task.targets: what images can be labelled with. A new kind gets a line here. Imports no torch."""

from typing import NamedTuple


class TargetKind(NamedTuple):
    """`words`: what there is per image. `moves`: it moves with the pixels, so whole images keep their shape.

    `own_losses`: networks that find it have losses of their own. `formats`: the options of data that have it, beside
    torchvision. `augment`: the option of this group that fits, and `changes`: the settings of augment that only some
    kinds have and this one does. `has_classes`: there are classes to balance and to mix. `outlines`: of annotations of
    objects their outlines are read, too. `row_per_object`: tables have a row for each object, and not for each image.
    """

    words: str
    moves: bool = False
    own_losses: bool = False
    formats: tuple[str, ...] = ()
    augment: str = "light"
    changes: tuple[str, ...] = ("crop_scale_min", "policy", "erasing", "mixup", "cutmix", "crop_px")
    has_classes: bool = True
    outlines: bool = False
    row_per_object: bool = False


_OF_PIXELS = ("scale_jitter", "crop_px")
_OF_OBJECTS = ("zoom_out", "iou_crop", "scale_jitter")

_BOX_FORMATS = ("auto", "coco", "voc", "yolo", "digit_scenes", "csv")
_OUTLINE_FORMATS = ("auto", "coco", "yolo", "digit_scenes")

TARGET_KINDS = {
    "classes": TargetKind("one class", formats=("folder", "digits", "csv")),
    "tags": TargetKind("several classes", formats=("csv",)),
    "numbers": TargetKind("numbers", formats=("csv",), has_classes=False),
    "boxes": TargetKind("boxes", True, True, _BOX_FORMATS, "boxes", _OF_OBJECTS, row_per_object=True),
    "masks": TargetKind(
        "a class for each pixel", True, False, ("masks", *_OUTLINE_FORMATS), "pixels", _OF_PIXELS, outlines=True
    ),
    "instances": TargetKind("objects with masks", True, True, _OUTLINE_FORMATS, "boxes", _OF_OBJECTS, outlines=True),
}
MOVE_WITH_PIXELS = tuple(kind for kind, facts in TARGET_KINDS.items() if facts.moves)

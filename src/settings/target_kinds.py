"""The words of task.targets: what images can be labelled with. A new kind gets a line here. Imports no torch."""

from typing import NamedTuple


class TargetKind(NamedTuple):
    """`words`: what there is per image. `moves`: it moves with the pixels, so whole images keep their shape.

    `own_losses`: networks that find it have losses of their own. `formats`: the options of data that have it, beside
    csv and torchvision. `augment`: the option of this group that fits, and `changes`: the settings of augment that only
    some kinds have and this one does.
    """

    words: str
    moves: bool = False
    own_losses: bool = False
    formats: tuple[str, ...] = ()
    augment: str = "light"
    changes: tuple[str, ...] = ("crop_scale_min", "policy", "erasing", "mixup", "cutmix", "crop_px")


_OF_PIXELS = ("scale_jitter", "crop_px")
_OF_OBJECTS = ("zoom_out", "iou_crop", "scale_jitter")

TARGET_KINDS = {
    "classes": TargetKind("one class", formats=("folder", "digits")),
    "tags": TargetKind("several classes"),
    "numbers": TargetKind("numbers"),
    "boxes": TargetKind("boxes", True, True, ("auto", "coco", "voc", "yolo", "digit_scenes"), "boxes", _OF_OBJECTS),
    "masks": TargetKind("a class for each pixel", True, False, ("digit_scenes",), "pixels", _OF_PIXELS),
    "instances": TargetKind("objects with masks", True, True, ("coco", "yolo", "digit_scenes"), "boxes", _OF_OBJECTS),
}
MOVE_WITH_PIXELS = tuple(kind for kind, facts in TARGET_KINDS.items() if facts.moves)

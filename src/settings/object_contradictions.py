"""What of the settings cannot go together where the network finds objects, or only there. Imports no torch."""

from collections.abc import Iterator

from src.settings.backbones import DETECTORS
from src.settings.nodes import MOVE_WITH_PIXELS
from src.settings.options import chosen_as, options_of, tasks_for
from src.settings.schema import TrainConfig

FOR_WHOLE_IMAGES = ("crop_scale_min", "policy", "erasing", "mixup", "cutmix")  # augmentation that knows no objects
FOR_OBJECTS = ("zoom_out", "iou_crop", "scale_jitter")
OWN_HEAD = "src.models.torchvision_detectors.own_head"  # of a whole detector
GROUPS = 32  # channels of a pyramid are normalised in so many groups


def finds_objects(settings: TrainConfig) -> bool:
    return settings.task.targets in MOVE_WITH_PIXELS


def object_problems(settings: TrainConfig) -> Iterator[str]:
    moves, augment = finds_objects(settings), settings.augment
    names = FOR_WHOLE_IMAGES if moves else FOR_OBJECTS
    if given := [f"augment.{name}={value}" for name in names if (value := getattr(augment, name))]:
        is_are, it = ("is", "it") if len(given) == 1 else ("are", "them")
        only, instead = ("not", "augment=boxes") if moves else ("only", "another augment=, such as light,")
        yield (
            f"{' and '.join(given)} {is_are} {only} for task.targets={', '.join(MOVE_WITH_PIXELS)}: choose {instead} "
            f"or leave {it} out."
        )
    yield from network_problems(settings) if moves else ()
    if not moves and settings.backbone.name in DETECTORS:
        yield (
            f"backbone.name='{settings.backbone.name}' is a whole detector: choose {tasks_for(*MOVE_WITH_PIXELS)}, or "
            "a classifier such as backbone=resnet50."
        )


def network_problems(settings: TrainConfig) -> Iterator[str]:
    """Of networks that find objects."""
    head, data, targets = settings.head, settings.data, settings.task.targets
    if settings.loss:
        yield (
            f"{chosen_as('loss', settings.loss)} would do nothing: the networks of task.targets={targets} have losses "
            "of their own. Leave loss= out."
        )
    if data.get("cache") == "features":
        yield "data.cache=features keeps what a classifier's head gets, and this task has no such: use images or none."
    if data.get("resize_mode") == "crop":
        yield "data.resize_mode=crop would cut objects off: use fit or stretch."
    if settings.backbone.weights is None and head.get("norms") == "frozen":
        yield (
            "head.norms=frozen keeps the BatchNorm of pretrained weights, and backbone.weights=null gives random ones, "
            "in which the signal would die away: set head.norms=train, or leave both out."
        )
    if (channels := head.get("channels", 0)) % GROUPS:
        yield f"head.channels={channels} must be a multiple of {GROUPS}."
    if settings.compile:
        yield "compile=true is not for networks that find objects: shapes change from image to image. Leave it out."
    if settings.trainer.get("strategy") == "fsdp":
        yield "trainer.strategy=fsdp cannot cut a detector yet, and these fit one device: use trainer=ddp."
    yield from pairing_problems(settings)


def pairing_problems(settings: TrainConfig) -> Iterator[str]:
    """A whole detector has its own head; the others are built over a classifier."""
    name, target = settings.backbone.name, settings.head["_target_"]
    options = {node["_target_"]: option for option, node in options_of("head").items()}
    for_objects = {option for option, node in options_of("head").items() if node.get("targets") in MOVE_WITH_PIXELS}
    others = for_objects - {options[OWN_HEAD]}
    if name in DETECTORS and target in options and target != OWN_HEAD:
        yield (
            f"head={options[target]} goes with classifiers, and backbone.name='{name}' is a whole detector with a head "
            f"of its own: give backbone={name} without head=."
        )
    elif name not in DETECTORS and target == OWN_HEAD:
        yield (
            f"head=torchvision is that of a whole detector, and backbone.name='{name}' is a classifier: choose "
            f"head={', '.join(sorted(others))}, or backbone={', '.join(DETECTORS)}."
        )
    elif name.startswith("vit_") and options.get(target) in others:
        yield (
            f"backbone.name='{name}' has no feature maps at several scales, and a detector needs them to find small "
            "and large objects: take a convolutional network or a Swin Transformer, e.g. backbone=resnet50 or swin_t."
        )

"""What of the settings cannot go together where the network says what is where, or only there. Imports no torch."""

from collections.abc import Iterator

from src.settings.backbones import OWN_HEADS
from src.settings.options import chosen_as, options_of, tasks_for
from src.settings.schema import TrainConfig
from src.settings.target_kinds import MOVE_WITH_PIXELS, TARGET_KINDS

GROUPS = 32  # channels of a pyramid are normalised in so many groups


def object_problems(settings: TrainConfig) -> Iterator[str]:
    targets, augment = settings.task.targets, settings.augment
    able = TARGET_KINDS[targets].changes
    others = [name for kind in TARGET_KINDS.values() for name in kind.changes if name not in able]
    if given := [f"augment.{name}={value}" for name in dict.fromkeys(others) if (value := getattr(augment, name))]:
        is_are, it = ("is", "it") if len(given) == 1 else ("are", "them")
        instead = f"augment={TARGET_KINDS[targets].augment}"
        yield f"{' and '.join(given)} {is_are} not for task.targets={targets}: choose {instead}, or leave {it} out."
    moves = targets in MOVE_WITH_PIXELS
    yield from network_problems(settings) if moves else ()
    yield from whole_network_problems(settings)


def network_problems(settings: TrainConfig) -> Iterator[str]:
    """Of networks that say what is where."""
    head, data, targets = settings.head, settings.data, settings.task.targets
    if settings.loss and TARGET_KINDS[targets].own_losses:
        yield (
            f"{chosen_as('loss', settings.loss)} would do nothing: the networks of task.targets={targets} have losses "
            "of their own. Leave loss= out."
        )
    if data.get("cache") == "features":
        yield "data.cache=features keeps what a classifier's head gets, and this task has no such: use images or none."
    if data.get("resize_mode") == "crop":
        yield "data.resize_mode=crop would cut off what is at the edges: use fit or stretch."
    if settings.backbone.weights is None and head.get("norms") == "frozen":
        yield (
            "head.norms=frozen keeps the BatchNorm of pretrained weights, and backbone.weights=null gives random ones, "
            "in which the signal would die away: set head.norms=train, or leave both out."
        )
    if (channels := head.get("channels", 0)) % GROUPS:
        yield f"head.channels={channels} must be a multiple of {GROUPS}."
    if settings.compile:
        yield "compile=true is not for networks that say what is where: shapes change with the images. Leave it out."
    if settings.trainer.get("strategy") == "fsdp":
        yield "trainer.strategy=fsdp cannot cut such a network yet, and these fit one device: use trainer=ddp."
    yield from pairing_problems(settings)


def pairing_problems(settings: TrainConfig) -> Iterator[str]:
    """A whole network has its own head; the others are built over a classifier."""
    name, targets, heads = settings.backbone.name, settings.task.targets, options_of("head")
    chosen = next((option for option, node in heads.items() if node["_target_"] == settings.head["_target_"]), None)
    fitting = [option for option, node in heads.items() if node.get("targets") == targets]
    others = [option for option in fitting if option not in OWN_HEADS.values()]
    own = OWN_HEADS.get(name)
    if own is not None and own not in fitting:
        return  # whole_network_problems
    if own is not None and chosen not in (None, own):
        yield (
            f"head={chosen} goes with classifiers, and backbone.name='{name}' is a whole network with a head of its "
            f"own: give backbone={name} without head=."
        )
    elif own is None and chosen in OWN_HEADS.values():
        whole = [name for name, head in OWN_HEADS.items() if head in fitting]
        yield (
            f"head={chosen} is that of a whole network, and backbone.name='{name}' is a classifier: choose "
            f"head={', '.join(sorted(others))}, or backbone={', '.join(whole)}."
        )
    elif name.startswith("vit_") and chosen in others:
        yield (
            f"backbone.name='{name}' has no feature maps at several scales, which say what is where: take a "
            "convolutional network or a Swin Transformer, e.g. backbone=resnet50 or swin_t."
        )


def whole_network_problems(settings: TrainConfig) -> Iterator[str]:
    name, targets = settings.backbone.name, settings.task.targets
    if (own := OWN_HEADS.get(name)) and (wanted := options_of("head")[own]["targets"]) != targets:
        yield (
            f"backbone.name='{name}' is a whole network for task.targets={wanted}, and this task has "
            f"task.targets={targets}: choose {tasks_for(wanted)}, or a classifier such as backbone=resnet50."
        )

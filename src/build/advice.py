"""Which settings fit the data, where no recipe was chosen: one line in the log, with the reason."""

from hydra.utils import get_object

from src.data.table import ImageTable
from src.settings.schema import TrainConfig
from src.settings.signatures import arguments_of

FEW_IMAGES = 1000  # in train; the recipes for few were measured on 244
LOPSIDED = 5  # times as many images of the commonest class as of the rarest


def advise_recipe(settings: TrainConfig, table: ImageTable) -> str | None:
    """One sentence, or None if there is nothing to say: numbers to predict, random weights, settings that do it."""
    rows = table.splits["train"]
    counts_K = table.targets.counts(rows)
    if counts_K is None or settings.backbone.weights is None:
        return None
    counts_K = counts_K[counts_K > 0]
    most, least = int(counts_K.max()), int(counts_K.min())
    loss = settings.loss
    adjusted = "_target_" in loss and "class_counts" in arguments_of(get_object(loss["_target_"]))[0]
    balanced = settings.data.get("balanced_sampling") or loss.get("class_weights") or adjusted
    if table.targets.kind == "classes" and most >= LOPSIDED * least and not balanced:
        return (
            f"Advice: the commonest class has {most:,} training images and the rarest {least:,}. "
            "If all classes matter alike, try experiment=long_tail, which shows them equally often, or "
            "loss=logit_adjusted."
        )
    spares_weights = settings.freeze.phases[0].train == "head" or settings.head.get("start") == "pretrained"
    if table.targets.kind == "classes" and len(rows) < FEW_IMAGES and not spares_weights:
        return (
            f"Advice: {len(rows):,} training images are few. Try experiment=known_classes, whose head starts from "
            "pretrained classes, and experiment=linear_probe, which trains the head alone: on 244, they were better "
            "than training everything, in half the time or less."
        )
    return None

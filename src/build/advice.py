"""Which settings fit the data, where no recipe was chosen: one line in the log, with the reason."""

from hydra.utils import get_object

from src.data.table import ImageTable
from src.settings.schema import TrainConfig
from src.settings.signatures import arguments_of

LEAST_PX = 128  # the recipes were measured on photographs of 224 pixels
LOPSIDED = 5  # times as many images of the commonest class as of the rarest


def advise_recipe(settings: TrainConfig, table: ImageTable, crop_px: int) -> str | None:
    """One sentence, or None if there is nothing to say: numbers to predict, random weights, settings that do it.

    `crop_px`: side of the images that the network sees.
    """
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
    chooses = settings.freeze.phases[0].train == "head" or settings.head.get("start") != "small"
    if table.targets.kind == "classes" and crop_px >= LEAST_PX and not chooses:
        return (
            "Advice: recipe=auto first looks at some training images, for seconds, and takes the recipe that was best "
            "where the pretrained network knows the classes, or the one for where it does not (docs/recipes.md)."
        )
    return None

"""What each metric is: which direction is better, its unit, its words. A new metric gets a line here."""

from typing import NamedTuple


class MetricFacts(NamedTuple):
    """`better`: max, min, or empty for what is neither good nor bad, or unknown, as a metric of the user's own is.

    `unit`: share (0..1, told in points, hundredths), seconds, or empty. `counts_images`: a share of the images, so that
    each of N images adds 1/N. `hub`: its name on model hubs, if it has one.
    """

    words: str
    better: str
    unit: str = ""
    counts_images: bool = False
    hub: str = ""


FACTS = {
    "loss": MetricFacts("loss", "min"),
    "acc": MetricFacts("accuracy", "max", "share", counts_images=True, hub="accuracy"),
    "acc_top5": MetricFacts("accuracy of the five likeliest classes", "max", "share", counts_images=True),
    "balanced_acc": MetricFacts("balanced accuracy, the mean recall of the classes", "max", "share"),
    "f1": MetricFacts("F1, mean of the classes", "max", "share", hub="f1"),
    "map": MetricFacts("mean average precision", "max", "share", hub="mean_average_precision"),
    "ap": MetricFacts("average precision of boxes, IoU 0.5 to 0.95", "max", "share", hub="mean_average_precision"),
    "ap50": MetricFacts("average precision of boxes at IoU 0.5", "max", "share"),
    "ap75": MetricFacts("average precision of boxes at IoU 0.75", "max", "share"),
    "ap_small": MetricFacts("average precision of boxes below 32² px", "max", "share"),
    "ap_medium": MetricFacts("average precision of boxes of 32² to 96² px", "max", "share"),
    "ap_large": MetricFacts("average precision of boxes from 96² px on", "max", "share"),
    "ar": MetricFacts("average recall of boxes, IoU 0.5 to 0.95", "max", "share"),
    "box_ap": MetricFacts("average precision of boxes, IoU 0.5 to 0.95", "max", "share"),
    "box_ap50": MetricFacts("average precision of boxes at IoU 0.5", "max", "share"),
    "mask_ap": MetricFacts("average precision of masks, IoU 0.5 to 0.95", "max", "share", hub="mean_average_precision"),
    "mask_ap50": MetricFacts("average precision of masks at IoU 0.5", "max", "share"),
    "mask_ap75": MetricFacts("average precision of masks at IoU 0.75", "max", "share"),
    "mask_ap_small": MetricFacts("average precision of masks below 32² px", "max", "share"),
    "mask_ap_medium": MetricFacts("average precision of masks of 32² to 96² px", "max", "share"),
    "mask_ap_large": MetricFacts("average precision of masks from 96² px on", "max", "share"),
    "mask_ar": MetricFacts("average recall of masks, IoU 0.5 to 0.95", "max", "share"),
    "ar_1": MetricFacts("average recall of the best box per image and class", "max", "share"),
    "ar_10": MetricFacts("average recall of the best ten boxes per image and class", "max", "share"),
    "precision": MetricFacts("precision at the thresholds, mean of the classes", "max", "share"),
    "recall": MetricFacts("recall at the thresholds, mean of the classes", "max", "share"),
    "dece": MetricFacts("calibration error of the scores of boxes", "min"),
    "miou": MetricFacts("intersection over union of pixels, mean of the classes", "max", "share", hub="mean_iou"),
    "dice": MetricFacts("Dice, the F1 of a class's pixels, mean of the classes", "max", "share"),
    "f1_macro": MetricFacts("F1, mean of the classes", "max", "share"),
    "f1_micro": MetricFacts("F1 of all decisions together", "max", "share"),
    "mae": MetricFacts("mean absolute error", "min", hub="mae"),
    "rmse": MetricFacts("root of the mean squared error", "min"),
    "r2": MetricFacts("R², share of the variance that is explained", "max"),
    "ece": MetricFacts("expected calibration error", "min"),
    "brier": MetricFacts("Brier score", "min"),
    "seconds": MetricFacts("seconds of an epoch", "min", "seconds"),
    "fit_seconds": MetricFacts("seconds of the training", "min", "seconds"),
    "epochs": MetricFacts("epochs", ""),
    "steps": MetricFacts("steps", ""),
    "lr": MetricFacts("learning rate", ""),
    "lr_find": MetricFacts("learning rate that was found", ""),
    "temperature": MetricFacts("temperature of the calibration", ""),
    "soup_epochs": MetricFacts("epochs in the soup", ""),
}


def metric_name(key: str) -> str:
    """`acc` of last/val/acc, `mae` of val/mae/age, `lr_find` of lr_find/phase_1."""
    parts = key.removeprefix("last/").split("/")
    return parts[1] if parts[0] in ("train", "val", "test", "all") and len(parts) > 1 else parts[0]


def facts_of(key: str) -> MetricFacts:
    """Of a key of metrics.json, epochs.csv or task.monitor."""
    name = metric_name(key).removesuffix("_uncalibrated")
    return FACTS.get(name, MetricFacts(name, ""))

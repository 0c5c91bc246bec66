"""What a model card says against its model."""

from collections.abc import Iterator

from src.evaluation.metric_facts import facts_of
from src.reports.card_facts import CardFacts
from src.reports.markdown import TO_FILL_IN, number, plain

FEW_IMAGES = 30  # of a class in train


def limits(card: CardFacts) -> Iterator[str]:
    """What the numbers themselves say against the model."""
    train = card.class_counts.get("train", [])
    rare = [name for name, count in zip(card.class_names, train, strict=False) if count < FEW_IMAGES]
    if rare:
        shown = ", ".join(plain(name) for name in rare[:10]) + (f" and {len(rare) - 10} more" if len(rare) > 10 else "")
        yield f"- Few images: fewer than {FEW_IMAGES} in train of {shown}."
    if train and max(train) > 5 * max(min(train), 1):
        yield (
            f"- Imbalanced: the largest class has {max(train):,} training images, the smallest {min(train):,}. "
            "Accuracy hides what happens to the small ones; look at balanced accuracy and at the classes."
        )
    shares = [key for key in card.metrics if facts_of(key).counts_images and card.split_counts.get(key.split("/")[0])]
    for split in dict.fromkeys(key.split("/")[0] for key in shares):
        points = 100 / card.split_counts[split]
        yield f"- One image of {split} is {points:.2g} points of accuracy: smaller differences mean nothing."
    wide = [key for key in shares if (span := card.intervals.get(key)) and span[1] - span[0] > 0.1]
    if wide:
        yield f"- The intervals of {', '.join(wide)} are wider than 10 points: there are too few images to tell."
    if not any(key.startswith("test/") for key in card.metrics):
        yield "- Not tested: no test images were held back and measured, and val chose the weights."
    usual = card.calibration.get("ood_score_p99")
    helps = (
        "" if usual is None else f" src.predict's ood_score helps to see them: 1 % of val was above {number(usual)}."
    )
    yield f"- Images unlike those of the training get an answer too, often a confident one.{helps}"
    yield f"- Other limits, such as groups of people, places or cameras that the images do not show: {TO_FILL_IN}"

"""What the images of a split say about pairs of runs: what one is worth, how many are answered differently."""

from src.comparing.images import Answers, changed_images, predictions_file
from src.comparing.sides import Pair
from src.evaluation.metric_facts import facts_of
from src.evaluation.paired_tests import p_text


def paired_images(pairs: list[Pair], metric: str, answers: Answers) -> tuple[float | None, list[str]]:
    """What one image adds to the metric, and lines about the images of the metric's split.

    None if not all images add the same. No lines where images were not predicted, or are not just right or wrong.
    """
    split = "test" if metric.startswith("test/") else "val"
    predicted = all(predictions_file(run, split).is_file() for pair in pairs for run in pair)
    changes = [changed_images(answers, a, b, split) for a, b in pairs] if predicted else []
    if not changes or not all(change.right_or_wrong for change in changes):
        return None, []
    worth, lines, sizes = None, [], sorted(len(answers.of(a, split)) for a, _ in pairs)
    if facts_of(metric).counts_images and metric.removeprefix("last/").startswith(("val/", "test/")):
        worth = len(sizes) / sum(sizes)
        about, fewest = ("about ", f"{sizes[0]:,} to ") if sizes[0] < sizes[-1] else ("", "")
        lines.append(f"{fewest}{sizes[-1]:,} images: one image is {about}{100 * worth:.2f} points.")
    gained, lost = (sum(map(len, paths)) for paths in zip(*((c.better, c.worse) for c in changes), strict=True))
    lines.append(
        f"Best checkpoints on {split}: of {sum(change.images for change in changes):,} answers, {gained} wrong with A "
        f"are right with B, and {lost} right with A are wrong with B."
    )
    if len(changes) == 1:
        p = p_text(changes[0].p)
        lines.append(f"McNemar's exact test between these two models, on these images: p {p}.")
    return worth, lines

"""What the images of a split say about pairs of runs: what one is worth, how many are answered differently."""

from dataclasses import dataclass

from src.comparing.images import Answers, changed_images, predictions_file
from src.comparing.sides import Pair
from src.evaluation.metric_facts import facts_of
from src.evaluation.paired_tests import mcnemar_p, p_text


@dataclass(frozen=True)
class PairedImages:
    """Of the metric's split: images of each run of A, and how many of all answers became right (gained) or wrong."""

    split: str
    sizes: list[int]
    answers: int
    gained: int
    lost: int
    worth: float | None  # what one image adds to the metric; None if not all add the same, or are not predicted

    @classmethod
    def of(cls, pairs: list[Pair], metric: str, answers: Answers) -> "PairedImages":
        split = "test" if metric.startswith("test/") else "val"
        predicted = all(predictions_file(run, split).is_file() for pair in pairs for run in pair)
        changes = [changed_images(answers, a, b, split) for a, b in pairs] if predicted else []
        if not changes or not all(change.right_or_wrong for change in changes):
            return cls(split, [], 0, 0, 0, None)
        sizes = [len(answers.of(a, split)) for a, _ in pairs]
        is_share = facts_of(metric).counts_images and metric.removeprefix("last/").startswith(("val/", "test/"))
        return cls(
            split,
            sizes,
            sum(change.images for change in changes),
            sum(len(change.better) for change in changes),
            sum(len(change.worse) for change in changes),
            len(sizes) / sum(sizes) if is_share else None,
        )

    def lines(self) -> list[str]:
        """What one image is worth, and how many the best checkpoints of the two sides answer differently."""
        if not self.sizes:
            return []
        lines, low, high = [], min(self.sizes), max(self.sizes)
        if self.worth is not None:
            about, fewest = ("about ", f"{low:,} to ") if low < high else ("", "")
            lines.append(f"{fewest}{high:,} images: one image is {about}{100 * self.worth:.2f} points.")
        lines.append(
            f"Best checkpoints on {self.split}: of {self.answers:,} answers, {self.gained} wrong with A are right "
            f"with B, and {self.lost} right with A are wrong with B."
        )
        if len(self.sizes) == 1:
            p = p_text(mcnemar_p(self.lost, self.gained))
            lines.append(f"McNemar's exact test between these two models, on these images: p {p}.")
        return lines

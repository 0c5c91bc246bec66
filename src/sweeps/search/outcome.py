"""What a search has come to, and what is said of it in words: by the terminal, the page and best.yaml alike."""

from dataclasses import dataclass
from pathlib import Path

from src.settings.plurals import number_of
from src.sweeps.search.best import OnTest
from src.sweeps.search.composing import Plan
from src.sweeps.search.importance import Importance
from src.sweeps.search.study import Study, Tried


@dataclass(frozen=True)
class SearchReport:
    """`best`: None if no trial came to its end; `test`: None if test was not to be measured."""

    folder: Path
    study: Study
    plan: Plan
    tried: list[Tried]
    best: Tried | None
    test: OnTest | None
    command: str
    importances: list[Importance]

    def count(self, status: str) -> int:
        return sum(one.status == status for one in self.tried)

    def counts(self) -> str:
        """`30 trials: 12 trained to the end, 17 ended early, 1 failed`."""
        words = {
            "done": "trained to the end", "pruned": "ended early", "diverged": "diverged", "failed": "failed",
            "repeated": "with values tried before",
        }  # fmt: skip
        parts = [f"{self.count(status)} {text}" for status, text in words.items() if self.count(status)]
        return f"{number_of(len(self.tried), 'trial')}: {', '.join(parts)}"

    def saved(self) -> str:
        """What ending trials early has saved."""
        spent = sum(one.steps for one in self.tried)
        whole = sum(self.plan.steps if one.status == "pruned" else one.steps for one in self.tried)
        share = f", {max(0.0, 1 - spent / whole):.0%} fewer than without" if self.count("pruned") and whole else ""
        return f"{number_of(spent, 'epoch')} trained{share}"

    def caution(self) -> str:
        """What the best value is not."""
        assert self.best is not None
        monitor, tried = self.plan.monitor, len(self.tried)
        return (
            f"{monitor} {self.best.value:.4f} is the best of {number_of(tried, 'trial')}, on the images that chose it: "
            "it flatters, the more so the more trials there were."
        )

    def on_test(self) -> list[str]:
        """Lines about the chosen trial on test."""
        if self.test is None:
            return ["test was not measured (test=false)."]
        if self.test.problem:
            return [f"test was not measured: {self.test.problem}"]
        folds = f", mean of {self.plan.folds} folds" if self.plan.folds > 1 else ""
        lines = []
        for name, value in self.test.metrics.items():
            interval = self.test.intervals.get(name)
            within = f" (95 % CI {interval[0]:.4f}..{interval[1]:.4f})" if interval else ""
            lines.append(f"{name} {value:.4f}{within}{folds}")
        return lines

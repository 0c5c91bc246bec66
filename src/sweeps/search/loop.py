"""The search while it runs: trials begin, report each epoch, and end; until all are used up, or somebody ends it."""

import re
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from src.files.printable import printable
from src.settings.errors import TERMINATED, ConfigError, RunStopped
from src.settings.plurals import number_of
from src.sweeps.results import gist
from src.sweeps.search.composing import Composer, Plan
from src.sweeps.search.ending import asked_to_end
from src.sweeps.search.places import trial_environ
from src.sweeps.search.rows import trial_folder, write_row
from src.sweeps.search.settings import SearchSettings
from src.sweeps.search.study import Study, Tried
from src.sweeps.search.trial import DIVERGED, ERROR_FILE, Trial, TrialFailed

POLL_SECONDS = 0.2
SAME_ERRORS = 3  # trials in a row that fail for one reason, before any other end


@dataclass
class Loop:
    """`places`: trials at a time; `gpus`: as CUDA_VISIBLE_DEVICES names them."""

    folder: Path
    study: Study
    composer: Composer
    plan: Plan
    settings: SearchSettings
    places: int
    gpus: list[str]
    running: dict[int, Trial] = field(default_factory=dict)  # by place
    errors: list[str] = field(default_factory=list)  # of this start's trials
    others_ended: bool = False  # without one

    def run(self) -> None:
        """Raises RunStopped if it was told to end, ConfigError if the first trials all fail for the same reason."""
        began, limit = time.monotonic(), self.settings.timeout_minutes
        waiting = self.study.reopened()
        for number, _ in waiting:
            print(f"trial {number} was interrupted, and goes on.", flush=True)
        with asked_to_end() as signals:
            try:
                while not signals:
                    late = limit is not None and time.monotonic() - began > 60 * limit
                    self.fill(waiting, late)
                    if not self.running and not self.is_left(waiting, late):
                        return
                    time.sleep(POLL_SECONDS)
                    self.look()
            finally:
                self.end_all(signals)
        raise RunStopped(self.goes_on(), TERMINATED if signals[0] == signal.SIGTERM else 130)

    def fill(self, waiting: list[tuple[int, dict[str, str]]], late: bool) -> None:
        """Trials at the places that are free: those that were interrupted, then new ones, unless it is too late."""
        for place in sorted(set(range(self.places)) - self.running.keys()):
            if waiting:
                self.start(place, *waiting.pop(0))
            elif self.is_left(waiting, late):
                self.start_new(place)

    def is_left(self, waiting: list[tuple[int, dict[str, str]]], late: bool) -> bool:
        """Whether there is a trial to begin."""
        return bool(waiting) or (not late and len(self.study.tried()) < self.settings.trials)

    def start_new(self, place: int) -> None:
        number, values = self.study.ask()
        same = [one for one in self.study.tried() if one.values == values and one.status == "done"]
        if same:  # with the same seed it would end as that one
            self.study.tell(number, "repeated", same[0].value)
            print(f"trial {number} has the values of trial {same[0].number}, and its result.", flush=True)
        else:
            self.start(place, number, values)

    def start(self, place: int, number: int, values: dict[str, str]) -> None:
        environ = trial_environ(self.plan, place, self.places, self.gpus)
        overrides, folder = self.study.space.overrides(values), trial_folder(self.folder, number, values)
        trial = Trial(number, values, overrides, folder, self.plan, self.composer.compose, environ)
        write_row(self.folder, self.study, self.plan, self.tried(number))
        try:
            trial.start()
            self.running[place] = trial
        except TrialFailed as error:  # of settings that do not go together
            self.finish(trial, "failed", None, str(error))

    def look(self) -> None:
        """Take in what the trials that run have done since the last time."""
        for place, trial in list(self.running.items()):
            assert trial.process is not None
            ended = trial.process.poll() is not None
            if trial.told_at is None:
                behind = self.study.report(trial.number, trial.new_values())
                if behind and not ended and self.study.steps_of(trial.number) < self.plan.steps:
                    trial.end()
            elif not ended:
                trial.end()
            if ended:
                self.take_end(place, trial)

    def take_end(self, place: int, trial: Trial) -> None:
        """Of a process; a trial may go on with its next fold."""
        assert trial.process is not None
        told, text = trial.told_at is not None, ""
        try:
            if trial.process.returncode:
                text = "" if told else trial.error()
                status = "pruned" if told else "diverged" if DIVERGED in text else "failed"
            elif told and len(trial.results) < self.plan.folds - 1:
                status = "pruned"  # at the very end of a fold
            elif trial.next_fold():
                return
            else:
                status = "done"
        except TrialFailed as error:
            status, text = "failed", str(error)
        del self.running[place]
        self.finish(trial, status, trial.mean() if status == "done" else None, text)

    def finish(self, trial: Trial, status: str, value: float | None, text: str) -> None:
        """`text`: what was wrong."""
        error = gist(text)
        if status == "failed":
            (trial.folder / ERROR_FILE).write_text(text + "\n", encoding="utf-8")
        if status == "pruned":
            trial.remove_checkpoints()
        self.study.tell(trial.number, status, value, error)
        tried = self.tried(trial.number)
        write_row(self.folder, self.study, self.plan, tried)
        print(printable(self.words(tried, time.monotonic() - trial.began)), flush=True)
        if status == "failed":
            self.errors.append(re.sub(r"\d[\d.e+-]*", "#", error))
            self.require_different_errors(error)
        else:
            self.others_ended = True

    def require_different_errors(self, error: str) -> None:
        if not self.others_ended and len(self.errors) == SAME_ERRORS and len(set(self.errors)) == 1:
            raise ConfigError(
                f"The first {SAME_ERRORS} trials failed, all for the same reason, so the search ends: {error}\n"
                f"What they said is in {self.folder}/*/error.txt."
            )

    def tried(self, number: int) -> Tried:
        return next(one for one in self.study.tried() if one.number == number)

    def words(self, tried: Tried, seconds: float) -> str:
        """A line about a trial that has ended."""
        values = " ".join(f"{key}={value}" for key, value in tried.values.items())
        at = "" if tried.value is None else f" {self.plan.monitor} {tried.value:.4f}"
        epochs = f"{tried.steps} of {number_of(self.plan.steps, 'epoch')}"
        best = self.study.best()
        said = {
            "done": f"{at}{', the best so far' if best is not None and best.number == tried.number else ''}",
            "pruned": f" ended after {epochs},{at or ' without a result'}: it fell behind",
            "diverged": f" diverged after {epochs}: {tried.error}",
            "failed": f" failed: {tried.error}",
        }
        return f"trial {tried.number}  {values} {said[tried.status]}  ({seconds:.0f} s)"

    def end_all(self, signals: list[int]) -> None:
        """Trials save where they are; a second signal does not wait for that."""
        while self.running:
            for place, trial in list(self.running.items()):
                assert trial.process is not None
                if trial.process.poll() is not None:
                    del self.running[place]
                else:
                    trial.end(now=len(signals) > 1)
            time.sleep(POLL_SECONDS / 2)

    def goes_on(self) -> str:
        tried = self.study.tried()
        running = [str(one.number) for one in tried if one.status == "running"]
        ended = f"{len(tried) - len(running)} of {self.settings.trials} trials have ended"
        still = f", trial {', '.join(running)} will go on where it was" if running else ""
        return f"The search was interrupted: {ended}{still}."

"""The run that src.train works on: a new one, one that goes on, or a dry one that leaves nothing."""

import logging
import uuid
from dataclasses import asdict, replace
from pathlib import Path

from lightning.pytorch.callbacks import EarlyStopping
from omegaconf import OmegaConf

from src.data.module import ImageDataModule
from src.files.whole_files import write_json
from src.models.preprocessing import Preprocessing
from src.runs.environment import environment
from src.runs.progress import lengthened, shares
from src.runs.record import RunRecord
from src.runs.resumed_state import Interrupted
from src.settings.errors import ConfigError
from src.settings.plurals import number_of
from src.settings.schema import TrainConfig
from src.settings.trust import plain_config

log = logging.getLogger(__name__)


class TrainingRun:
    """A new run. Those that go on, or are dry, differ in what they answer.

    `settings`: that hold. `first_phase`, `first_epoch`, `first_batch`: where it starts. `seconds_before`,
    `metrics_before`: of the training up to there. `preprocessing`: None leaves it to the weights. `reads_weights`:
    whether pretrained weights are read. `tries_out`: whether batch size and a head to start from are looked for.
    `leaves_results`: whether it measures its best weights and writes files. `own_folder`: outside which no checkpoint
    may be written; None = anywhere.
    """

    first_phase, first_epoch, first_batch = 0, 0, 0
    seconds_before = 0.0
    preprocessing: Preprocessing | None = None
    reads_weights, tries_out, leaves_results = True, True, True
    own_folder: Path | None = None

    def __init__(self, settings: TrainConfig) -> None:
        self.settings = settings
        self.metrics_before: dict[str, float] = {}
        self.run_id = uuid.uuid4().hex

    @property
    def output_dir(self) -> Path:
        return Path(self.settings.output_dir)

    @property
    def phase_epochs(self) -> list[int]:
        """Of each phase of the freeze plan."""
        return shares(self.planned_epochs, self.settings.trainer["max_epochs"])

    @property
    def planned_epochs(self) -> list[int | None]:
        return [phase.epochs for phase in self.settings.freeze.phases]

    def record_of(self, class_names: list[str], preprocessing: Preprocessing, fingerprint: str) -> RunRecord:
        """What its checkpoints carry. Raises ConfigError if it is to go on with data of other classes."""
        return RunRecord(asdict(self.settings), class_names, preprocessing, fingerprint, run_id=self.run_id)

    def require_same_batches(self, processes: int) -> None:
        """Raise ConfigError if an epoch that was interrupted within cannot be cut into the same batches again."""

    def start_epoch(self, phase: int, current_epoch: int) -> int:
        """In the whole run, of a phase that begins or goes on."""
        return current_epoch

    def end_epoch(self, phase: int, planned: int, stopping: EarlyStopping | None) -> int:
        """Of a phase that is to end at the epoch `planned`; `stopping` may have ended it before."""
        return planned

    def checkpoint_of(self, phase: int) -> Path | None:
        """With which a phase begins."""
        return None

    def tries_rate(self, phase: int) -> bool:
        """Whether lr_find looks for the rate of a phase."""
        return self.tries_out

    def write_facts(self, datamodule: ImageDataModule, record: RunRecord) -> None:
        """config.yaml, environment.json and split.csv, before the training."""
        folder = self.output_dir
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(
            OmegaConf.to_yaml(plain_config(record.config), resolve=True), encoding="utf-8"
        )
        write_json(folder / "environment.json", {"run_id": self.run_id, **environment(record.data_fingerprint)})
        datamodule.write_split_csv(folder / "split.csv", self.settings.spreadsheet_safe)


class DryRun(TrainingRun):
    """One batch through everything (trainer.fast_dev_run): nothing is tried out, and nothing stays."""

    tries_out, leaves_results = False, False

    def end_epoch(self, phase: int, planned: int, stopping: EarlyStopping | None) -> int:
        return 1  # as Lightning has it

    def write_facts(self, datamodule: ImageDataModule, record: RunRecord) -> None:
        pass


class ResumedRun(TrainingRun):
    """A run that goes on from its last checkpoint."""

    reads_weights, tries_out = False, False

    def __init__(self, settings: TrainConfig, before: Interrupted) -> None:
        super().__init__(settings)
        self.before, self.progress = before, before.progress
        self.run_id = before.record.run_id
        self.first_phase, self.first_epoch = self.progress.phase, before.epochs
        self.first_batch = self.progress.batches_done
        self.seconds_before, self.metrics_before = self.progress.fit_seconds, self.progress.metrics
        self.preprocessing = before.record.preprocessing
        self.own_folder = None if settings.trust else self.output_dir

    @property
    def phase_epochs(self) -> list[int]:
        before = self.before.record.setting("trainer.max_epochs")
        return lengthened(self.planned_epochs, self.progress, before, self.settings.trainer["max_epochs"])

    def record_of(self, class_names: list[str], preprocessing: Preprocessing, fingerprint: str) -> RunRecord:
        """With the rates that were found. A warning tells if the images are others."""
        before = self.before.record
        if class_names != before.class_names:
            raise ConfigError(
                f"The data have other classes ({', '.join(class_names)}) than when the run was interrupted "
                f"({', '.join(before.class_names)}): start a new run."
            )
        if fingerprint != before.data_fingerprint:
            log.warning(
                "The data have changed since the run was interrupted, and so may the splits have: val and test may now "
                "hold images that were trained on. A new run would be clean."
            )
        record = super().record_of(class_names, preprocessing, fingerprint)
        return replace(record, rates=before.rates, network=before.network)

    def require_same_batches(self, processes: int) -> None:
        keys = ("data.batch_size", "trainer.accumulate_grad_batches")
        before = (*map(self.before.record.setting, keys), self.progress.processes)
        settings = self.settings
        now = (settings.data.get("batch_size"), settings.trainer.get("accumulate_grad_batches"), processes)
        if self.first_batch and before != now:
            those = number_of(before[2], "process", "processes")
            raise ConfigError(
                f"The run was interrupted within an epoch, {number_of(self.first_batch, 'batch', 'batches')} into it, "
                f"with data.batch_size={before[0]}, trainer.accumulate_grad_batches={before[1]} and {those}: until "
                f"that epoch has ended these have to stay, and not become {now[0]}, {now[1]} and {now[2]}."
            )

    def start_epoch(self, phase: int, current_epoch: int) -> int:
        return self.progress.phase_start_epoch if phase == self.first_phase else current_epoch

    def end_epoch(self, phase: int, planned: int, stopping: EarlyStopping | None) -> int:
        """A warning tells of a phase that had ended already."""
        if phase != self.first_phase or (ended := self.why_nothing_is_left(planned, stopping)) is None:
            return planned
        log.warning("%s", ended)
        return self.first_epoch

    def why_nothing_is_left(self, planned: int, stopping: EarlyStopping | None) -> str | None:
        """What to say of an interrupted phase that had ended already; None if there is something to train in it."""
        done = self.progress.epochs_done
        for state in self.before.early_stopping:
            waited = state["wait_count"]
            if stopping is not None and state["stopped_epoch"] and waited >= stopping.patience:
                return (
                    f"Early stopping had ended phase {self.first_phase + 1} with epoch {done}, after "
                    f"{number_of(waited, 'epoch')} without a better {stopping.monitor}: it is not trained any more. "
                    "callbacks.early_stopping.patience=<more> goes on with it."
                )
        if done >= planned and self.first_phase == len(self.progress.phase_epochs) - 1:
            return (
                f"The run had ended with epoch {done}, and nothing is left to train: trainer.max_epochs=<more> goes on."
            )
        return None

    def checkpoint_of(self, phase: int) -> Path | None:
        return self.before.file if phase == self.first_phase else None

    def tries_rate(self, phase: int) -> bool:
        """A phase that goes on has its rate."""
        return phase != self.first_phase

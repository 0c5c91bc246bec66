"""One candidate after the other: its network as src.train builds it, its features, and a linear probe of them."""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Trainer
from torch import Tensor

from src.build.data import build_datamodule
from src.build.task import build_task
from src.build.trainer import build_trainer
from src.choosing.budget import Budget, WithinBudget
from src.choosing.candidates import Candidate
from src.choosing.kept_results import read_result, write_result
from src.choosing.probes import LinearProbe
from src.choosing.ranking import Result
from src.choosing.settings import settings_of
from src.choosing.speed import images_per_second
from src.choosing.untried import how_to_get, is_offline, weights_to_download
from src.choosing.validation import cross_validated, parts_of, steps
from src.cli.progress import progress_bar
from src.data.module import ImageDataModule
from src.data.targets import Rows
from src.models.classifier import pooled
from src.models.weights import find_weights
from src.runs.checkpoint import load_checkpoint
from src.runs.run import TrainingRun
from src.settings.errors import ConfigError
from src.settings.plurals import number_of
from src.tasks.lookup import task_class
from src.training.task import FineTuneTask
from src.training.tuning.rehearsal import rehearsal

log = logging.getLogger(__name__)

VERSION = 1  # of what is kept of a candidate: another number makes all of it anew
FOLDS = 5  # where data.folds says nothing
POOLED_AT_ONCE = 1024  # images
TRAINED_ON_THEM = "these weights come from a run on these very images: what a probe says of them is too good"


class Trials:
    """What all candidates share.

    `words`: of this command line, those for src.train. `folder`: where results are kept. `device`: on which they are
    measured, once one was. Raises ConfigError if something is wrong with the data, or with what a candidate is called.
    """

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        probe: type[LinearProbe],
        budget: Budget,
        candidates: Sequence[Candidate],
    ) -> None:
        self.words, self.folder, self.probe, self.budget = words, folder, probe, budget
        self.to_download = {candidate: weights_to_download(candidate) for candidate in candidates}
        self.is_offline = False  # as far as was seen
        self.device = ""
        datamodule = build_datamodule(settings_of(candidates[0], words, folder))
        datamodule.require_readable()
        self.table, plan = datamodule.table, datamodule.split_plan
        splits = self.table.splits
        self.pool = np.sort(np.concatenate([splits["train"], splits["val"]]))  # test stays unseen
        self.parts = parts_of(self.table, self.pool, FOLDS if plan.folds is None else plan.folds, plan.seed)
        log.info("%s images of train and val, in %d parts", f"{len(self.pool):,}", self.parts.max() + 1)

    def of(self, candidate: Candidate) -> Result:
        """Raises ConfigError if it cannot be had, and DoesNotFit if there is too little time."""
        start = time.perf_counter()
        run = TrainingRun(settings_of(candidate, self.words, self.folder))
        datamodule = build_datamodule(run.settings, scanned=self.table)
        task = self.built(candidate, run, datamodule)
        trainer = build_trainer(run)
        self.device = device_words(trainer)
        note = self.note_on(run)
        with rehearsal(task, datamodule, trainer) as copied:
            file = self.folder / f"{self.key(copied, datamodule)}.npz"
            if (before := read_result(file, candidate.text)) is not None:
                log.info("%s: as it was found before (%s)", candidate.text, file)
                return before
            self.budget.require_some()
            features_NC, read_N = self.features(datamodule, copied)
            speed = images_per_second(copied, datamodule, trainer)
        result = self.probed(candidate, task, features_NC, read_N)
        inference, training, why = speed
        speeds = {"images_per_s_inference": inference, "images_per_s_training": training}
        facts = {**result.facts, **speeds, "note": note or why, "seconds": time.perf_counter() - start}
        result = replace(result, facts=facts)
        write_result(file, result)
        return result

    def built(self, candidate: Candidate, run: TrainingRun, datamodule: ImageDataModule) -> FineTuneTask:
        """Weights are downloaded if need be, unless that failed before for want of a network."""
        to_download = self.to_download[candidate]
        if to_download is not None:
            if self.is_offline:
                raise ConfigError(how_to_get(candidate, to_download))
            self.budget.require_some()
        torch.manual_seed(run.settings.seed)
        try:
            return build_task(task_class(run.settings.task.name), run, datamodule)
        except ConfigError as error:
            if to_download is None or not is_offline(error):
                raise
            self.is_offline = True
            raise ConfigError(how_to_get(candidate, to_download)) from error

    def key(self, task: FineTuneTask, datamodule: ImageDataModule) -> str:
        """Changes with everything that a result depends on, but the machine."""
        assert task.frozen_network is not None
        texts = [str(VERSION), self.table.content_stamp(self.pool), str(datamodule.preprocessing)]
        texts += [task.frozen_network.frozen_fingerprint(), self.probe.__name__, *self.table.class_names]
        digest = hashlib.sha256("|".join(texts).encode())
        for values in (self.pool, self.parts, self.table.labels[self.pool]):
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()[:20]

    def features(self, datamodule: ImageDataModule, task: FineTuneTask) -> tuple[Tensor, Rows]:
        """float32 [N, C] on the task's device of those images of the pool that can be read, and their rows.

        They are kept for train and val apart, as a run that trains the head alone keeps them: it finds them there.
        """
        assert task.frozen_network is not None
        features, rows, left = list[Tensor](), list[Rows](), len(self.pool)
        for split in ("train", "val"):
            own = datamodule.table.splits[split]
            network = WithinBudget(task.frozen_network, left, self.budget)
            kept = datamodule.feature_dataset(own, False, network).kept
            read = np.setdiff1d(np.arange(len(own)), np.array(list(kept.reasons), dtype=np.int64))
            for start in range(0, len(read), POOLED_AT_ONCE):
                some = kept.features_VN[0, torch.from_numpy(read[start : start + POOLED_AT_ONCE])]
                features.append(pooled(some.float()).to(task.device))
            rows.append(own[read])
            left -= len(own)
        rows_N = np.concatenate(rows)
        order = np.argsort(rows_N)
        return torch.cat(features)[torch.from_numpy(order).to(task.device)], rows_N[order]

    def note_on(self, run: TrainingRun) -> str:
        """A sentence if these are the weights of a run on these very images: a probe of them flatters."""
        backbone = run.settings.backbone
        file = find_weights(backbone.name, backbone.weights)
        if not isinstance(file, Path) or file.suffix != ".ckpt":
            return ""
        try:
            seen = load_checkpoint(file)[1].data_fingerprint
        except ConfigError:  # of another program
            return ""
        return TRAINED_ON_THEM if seen == self.table.fingerprint() else ""

    def probed(self, candidate: Candidate, task: FineTuneTask, features_NC: Tensor, rows_N: Rows) -> Result:
        if not features_NC.isfinite().all():
            raise ConfigError("What the network makes of the images is not finite: these weights are of no use.")
        probe = self.probe(self.table.labels[rows_N], len(self.table.class_names))
        part_N = self.parts[np.searchsorted(self.pool, rows_N)]
        with progress_bar() as progress:
            bar = progress.add_task("linear probe", total=steps(int(self.parts.max()) + 1), speed="", loss="")
            found = cross_validated(probe, features_NC, part_N, lambda: progress.update(bar, advance=1))
        facts: dict[str, Any] = {
            "backbone": candidate.backbone,
            "weights": candidate.weights,
            "image_px": task.record.preprocessing.crop_px,
            "features": features_NC.shape[1],
            "parameters": sum(p.numel() for p in task.model.net.parameters()),
            "strengths": found.strengths,
            "temperatures": found.temperatures,
        }
        return Result(candidate.text, rows_N, probe.keep(found.outputs_NK), facts)


def device_words(trainer: Trainer) -> str:
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else number_of(torch.get_num_threads(), "thread")
    return f"{device.type} ({name}), precision {trainer.precision}"

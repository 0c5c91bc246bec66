"""What a run, or an evaluation, leaves for people: tables, the page, the model card. The task brings its parts.

The module `report` of a task has HEADLINE (names of its main metrics), EXPORTED (of those that src.export measures),
words, intervals, tables and sections."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from lightning import Trainer

from src.cli.command_line import resumed_run_dir
from src.data.table import ImageTable
from src.evaluation.evidence import Evidence
from src.files.csv_files import read_csv_file, write_csv_file
from src.files.whole_files import made_folder, write_json
from src.reports.card_sections import CardFacts
from src.reports.model_card import model_card
from src.reports.run_page import write_run_page
from src.reports.run_report import RunReport, TaskWords
from src.runs.environment import environment, peak_memory
from src.tasks.lookup import part_of
from src.training.embeddings import log_embeddings
from src.training.logged import log_image, log_table
from src.training.measure import Measured
from src.training.task import FineTuneTask

MAX_PROBABILITY_COLUMNS = 100


def report_part(task: FineTuneTask) -> ModuleType:
    return part_of(task.record.task_name, "report")


def write_report(folder: Path, report: RunReport, task: FineTuneTask) -> None:
    """Write index.html and intervals.json; fill `report.figures` and `report.intervals`. Needs at least one image."""
    part = report_part(task)
    for evidence in report.measured:
        if evidence.measurable:
            found = part.intervals(task, evidence)
            report.intervals |= {f"{evidence.split}/{name}": interval for name, interval in found.items()}
    write_json(folder / "intervals.json", {name: list(interval) for name, interval in report.intervals.items()})
    sections = part.sections(report, task)
    write_run_page(folder / "index.html", report, part.words(task.class_names), part.HEADLINE, sections)


def write_tables(
    folder: Path, task: FineTuneTask, table: ImageTable, splits: Sequence[Evidence], trainer: Trainer, safe: bool
) -> None:
    """The predictions of each split, and the task's tables; of test its figures. All of it goes into the loggers too.

    `safe`: for spreadsheets, see CsvWriter.
    """
    folder.mkdir(exist_ok=True)
    for evidence in splits:
        split = evidence.split
        write_predictions(folder / f"{split}_predictions.csv", task, table, evidence, safe)
        log_table(trainer, f"{split}/predictions", folder / f"{split}_predictions.csv")
        if not len(evidence):
            continue
        for name, (columns, rows) in report_part(task).tables(task, table, evidence).items():
            write_csv_file(folder / f"{split}_{name}.csv", columns, rows, safe)
            log_table(trainer, f"{split}/{name}", folder / f"{split}_{name}.csv")
        if evidence.split != "test":
            continue
        for name, image in task.figures(table, evidence).items():
            image.save(folder / f"{name.replace('/', '_')}.png")
            log_image(trainer, name, image.copy)


def write_run_report(
    output_dir: Path,
    task: FineTuneTask,
    table: ImageTable,
    measured: Measured,
    metrics: dict[str, Any],
    trainer: Trainer,
) -> None:
    """report/index.html and model_card.md, the figures into the loggers too, and the memory into environment.json."""
    file = output_dir / "environment.json"
    facts = {**json.loads(file.read_text(encoding="utf-8")), **peak_memory()}
    write_json(file, facts)
    if measured.embeddings:
        val = measured.splits[0]
        predictions = {row: one.answer for row, one in zip(val.rows_N.tolist(), task.predictions_of(val), strict=True)}
        log_embeddings(trainer, table, measured.embeddings, predictions)
    splits = [evidence for evidence in measured.splits if len(evidence)]
    if not splits:
        return
    report = RunReport(
        title=output_dir.resolve().name,
        table=table,
        config=task.record.config,
        metrics=metrics,
        environment=facts,
        measured=splits,
        parameters=parameters_of(task),
        epochs=read_csv_file(output_dir / "epochs.csv"),
        run_dir=output_dir.resolve(),
    )
    write_report(output_dir / "report", report, task)
    for name, image in report.figures.items():
        log_image(trainer, name, image.copy)
    unreadable = len(read_csv_file(output_dir / "unreadable.csv"))
    card = card_of(report, report_part(task).words(task.class_names), unreadable, measured.calibration)
    (output_dir / "report" / "model_card.md").write_text(model_card(card), encoding="utf-8")


def write_evaluation(
    folder: Path,
    ckpt: Path,
    task: FineTuneTask,
    table: ImageTable,
    evidence: Evidence,
    metrics: dict[str, float],
    own_data: bool,
) -> None:
    """index.html and intervals.json of one split. `own_data`: whether it is of the training's data set."""
    run_dir = resumed_run_dir(ckpt)
    report = RunReport(
        title=f"{run_dir.resolve().name}: {evidence.split}",
        table=table,
        config=task.record.config,
        metrics=metrics,
        environment=environment(table.fingerprint()),
        measured=[evidence],
        parameters=parameters_of(task),
        epochs=read_csv_file(run_dir / "epochs.csv"),
        ckpt=ckpt.resolve(),
        own_data=own_data,
    )
    with made_folder(folder):
        write_report(folder, report, task)


def card_of(report: RunReport, words: TaskWords, unreadable: int, calibration: dict[str, float]) -> CardFacts:
    splits = report.table.splits.items()
    counts = {split: report.table.targets.counts(rows) for split, rows in splits}
    return CardFacts(
        words=words,
        config=report.config,
        metrics=report.metrics,
        environment=report.environment,
        class_names=report.table.class_names,
        split_counts={split: len(rows) for split, rows in splits},
        class_counts={split: counts_K.tolist() for split, counts_K in counts.items() if counts_K is not None},
        unreadable=unreadable,
        calibration=calibration,
        intervals=report.intervals,
    )


def parameters_of(task: FineTuneTask) -> int:
    return sum(parameter.numel() for parameter in task.model.parameters())


def write_predictions(
    path: Path, task: FineTuneTask, table: ImageTable, evidence: Evidence, spreadsheet_safe: bool = True
) -> None:
    """A row per image or box: path, label, and the columns of src.predict; probabilities of up to 100 classes."""
    columns = task.prediction.columns(task.class_names, wide=len(task.class_names) <= MAX_PROBABILITY_COLUMNS)
    rows = (
        {"path": str(table.paths[row]), "label": table.targets.text(row), **cells}
        for row, prediction in zip(evidence.rows_N.tolist(), task.predictions_of(evidence), strict=True)
        for cells in prediction.rows()
    )
    write_csv_file(path, ["path", "label", *columns], rows, spreadsheet_safe)

"""The report's sections about what goes wrong: kinds of errors, confused classes, sizes."""

from src.evaluation.boxes.average_precision import AveragePrecision
from src.evaluation.boxes.confusion import count_box_confusions
from src.evaluation.boxes.errors import KINDS, split_errors
from src.evaluation.boxes.sizes import SIZES, count_by_size
from src.reports.confusion_matrix import TABLE_CLASSES, confusion_table
from src.reports.parts import html_table, section, share_text
from src.reports.run_report import RunReport
from src.tasks.detection.answers import BoxAnswers
from src.tasks.detection.class_sections import numbers
from src.tasks.detection.drawn import BACKGROUND, draw_confusion

ERROR_COLUMNS = ["kind", "answers", "all_boxes", "ap50_gain"]
MEANINGS = {
    "wrong class": "in place (IoU of at least 0.5 with a true box), of another class",
    "badly placed": "the class of a true box, at an IoU of 0.1 to 0.5",
    "both": "another class, at an IoU of 0.1 to 0.5",
    "duplicate": "a second box for what a better one has found",
    "background": "nothing there: no true box with an IoU of 0.1",
    "missed": "true boxes that nothing finds, nor points at with a wrong class or place",
}
PAIRS = 10
RANGES = ("below 32² px", "32² to 96² px", "from 96² px on")


def error_rows(answers: BoxAnswers) -> list[list[str]]:
    """By kind: how many of the answers, of all boxes whatever their scores, and what AP50 would gain without them."""
    of_answers, of_all = split_errors(answers.accepted).counts, split_errors(answers.matches)
    return [[kind, str(of_answers[kind]), str(of_all.counts[kind]), *numbers([of_all.gains[kind]])] for kind in KINDS]


def kinds_section(answers: BoxAnswers) -> str:
    rows = [
        [kind, MEANINGS[kind], f"{int(few):,}", f"{int(many):,}", *gain]
        for kind, few, many, *gain in error_rows(answers)
    ]
    note = (
        "<p>TIDE's split (Bolya et al. 2020), at IoU 0.5. Gain: what AP50 would be more without errors of this kind; "
        "gains do not add up. Answers are boxes from their thresholds on; most of all boxes have low scores, and cost "
        "little.</p>"
    )
    columns = ["error", "what it is", "among answers", "among all boxes", "gain in AP50"]
    return section("Kinds of errors", note, html_table(columns, rows, texts=2, short=True))


def confusion_section(report: RunReport, answers: BoxAnswers, class_names: list[str]) -> str:
    counts, names = count_box_confusions(answers.accepted), [*class_names, BACKGROUND]
    if not len(counts.counts_P):
        return ""
    image, title = draw_confusion(answers, class_names), "Confusion matrix with background"
    if len(names) <= TABLE_CLASSES:
        matrix, report.figures["report/confusion"] = confusion_table(counts.matrix(), names), image
    else:
        matrix = report.figure("report/confusion", image, title)
    boxes_K = counts.true_counts
    rows = [
        [names[true], names[predicted], f"{count:,}", share_text(count / int(boxes_K[true]))]
        for true, predicted, count in counts.most_confused(PAIRS)
    ]
    note = (
        "<p>Of the answers. Rows: true class; columns: answer. An answer and a true box belong together from IoU 0.5 "
        f"on, whatever their classes, the closest first. Column {BACKGROUND}: missed boxes; row {BACKGROUND}: answers "
        "where no true box is.</p>"
    )
    table = html_table(["true", "answer", "boxes", "of the row"], rows, texts=2, sortable=True) if rows else ""
    return section(title, note, matrix, "<h3>Most common errors</h3>" if rows else "", table)


def sizes_section(answers: BoxAnswers) -> str:
    counts = count_by_size(answers.accepted)
    rows = []
    for size, (name, span) in enumerate(zip(SIZES, RANGES, strict=True)):
        true, missed, alarms = (int(column[size]) for column in (counts.true, counts.missed, counts.false_alarms))
        ap = AveragePrecision(answers.raw, size + 1).metrics()["ap"]
        share = share_text(missed / true) if true else ""
        rows.append([name, span, f"{true:,}", f"{missed:,}", share, f"{alarms:,}", *numbers([ap])])
    columns = ["size", "area in the file", "true boxes", "missed", "of these", "false alarms", "AP"]
    note = (
        "<p>Of the answers, at IoU 0.5; false alarms by the size of the answer. If small ones are missed: "
        "a larger <code>data.image_size_px</code>, a finer level of the pyramid (<code>head.strides</code>), or "
        "<code>src.predict tile_px=</code> for large images.</p>"
    )
    return section("Misses and false alarms by size", note, html_table(columns, rows, texts=2, short=True))

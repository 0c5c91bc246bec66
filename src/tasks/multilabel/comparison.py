"""What a row of report/*_predictions.csv says, for comparing runs. Imports no torch."""

COLUMNS = ("label", "prediction")


def answer(row: dict[str, str]) -> tuple[str, float]:
    """The predicted classes, and how many classes are missing or too many."""
    wrong = set(row["label"].split(";")) ^ set(row["prediction"].split(";"))
    return row["prediction"], float(len(wrong - {""}))

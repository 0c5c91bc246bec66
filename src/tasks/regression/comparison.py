"""What a row of report/*_predictions.csv says, for comparing runs. Imports no torch."""

COLUMNS = ("label",)


def answer(row: dict[str, str]) -> tuple[str, float]:
    """The predicted numbers, and their mean distance from the label's. Raises ValueError."""
    texts = [value for name, value in row.items() if name.startswith("predicted:")]
    pairs = zip(row["label"].split(";"), texts, strict=True)
    distances = [abs(float(true) - float(predicted)) for true, predicted in pairs]
    return "; ".join(texts), sum(distances) / len(distances)

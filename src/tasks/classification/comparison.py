"""What a row of report/*_predictions.csv says, for comparing runs. Imports no torch."""

COLUMNS = ("label", "prediction", "confidence")


def answer(row: dict[str, str]) -> tuple[str, float]:
    """The predicted class with its confidence, and 0 if it is right, else 1. Raises ValueError."""
    return f"{row['prediction']} {float(row['confidence']):.3f}", float(row["prediction"] != row["label"])

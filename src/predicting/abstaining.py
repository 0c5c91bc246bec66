"""abstain_below: no answer where the model is not confident enough."""

from src.evaluation.prediction import Prediction
from src.settings.errors import ConfigError


def require_confidence(prediction: type[Prediction], below: float | None) -> None:
    """Raise ConfigError if answers are to be left out by their confidence, and there is none."""
    if below is not None and not prediction.can_abstain:
        raise ConfigError(
            f"abstain_below={below:g} compares the confidence of one class per image, and this model answers "
            "otherwise: leave it null."
        )

"""How an image becomes the network's input. Belongs to the weights, is kept in the checkpoint, and used everywhere."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Preprocessing:
    """Resize the shorter side, crop the centre, then normalise RGB in 0..1 by channel.

    Sizes are in pixels. `interpolation` is a torchvision InterpolationMode value ("bilinear", "bicubic"); resizing
    antialiases, as torchvision's own evaluation does.
    """

    resize_px: int
    crop_px: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def with_size(self, image_size_px: int | None, resize_px: int | None) -> "Preprocessing":
        """The same for images of another size; `resize_px` None keeps the proportion of resize and crop."""
        crop_px = self.crop_px if image_size_px is None else image_size_px
        if resize_px is None:
            resize_px = round(self.resize_px * crop_px / self.crop_px)
        return Preprocessing(max(resize_px, crop_px), crop_px, self.interpolation, self.mean, self.std)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, for checkpoints and json."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})

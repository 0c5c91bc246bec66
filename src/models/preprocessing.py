"""How an image becomes the network's input. Belongs to the weights, is kept in the checkpoint, and used everywhere."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

MOST_AT_ONCE, PIXELS_AT_ONCE = 32, 32 * 256**2  # images of a batch, and their pixels as the network sees them


@dataclass(frozen=True)
class Preprocessing:
    """Resize to a square, then normalise RGB in 0..1 by channel.

    `resize_mode` says how: `crop` scales the shorter side to `resize_px` and cuts out the centre, as torchvision's
    classifiers were trained; `fit` scales the longer side to `crop_px` and pads the other with the mean colour;
    `stretch` scales both. Sizes are in pixels; the network sees `crop_px` by `crop_px`. `interpolation` is a
    torchvision InterpolationMode value ("bilinear", "bicubic"); resizing antialiases, as torchvision's evaluation.

    With `keeps_shape` (boxes) nothing is cut off and nothing is padded here: `fit` scales an image until its longer
    side has `crop_px` or its shorter one `resize_px`, whichever comes first, and the network pads its batches.
    """

    resize_px: int
    crop_px: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize_mode: str = "crop"
    keeps_shape: bool = False

    def __post_init__(self) -> None:
        if (
            self.resize_mode != "crop" and not self.keeps_shape
        ):  # then images are scaled to what the network sees, whatever the weights' preset
            object.__setattr__(self, "resize_px", self.crop_px)

    @property
    def padding_color(self) -> tuple[int, int, int]:
        """Beside an image that is fitted in, RGB 0..255: the mean colour, which becomes 0 in front of the network."""
        red, green, blue = (min(max(round(255 * share), 0), 255) for share in self.mean)
        return red, green, blue

    @property
    def usual_batch_size(self) -> int:
        """For predictions: images that need about as much memory as a few small ones, whatever their size."""
        return max(1, min(MOST_AT_ONCE, PIXELS_AT_ONCE // (self.crop_px * self.resize_px)))

    def with_size(self, image_size_px: int | None, resize_px: int | None, resize_mode: str | None = None) -> Self:
        """The same for another size or way of resizing; None keeps what it is, of `resize_px` the share of crop_px."""
        crop_px = self.crop_px if image_size_px is None else image_size_px
        if resize_px is None:
            resize_px = round(self.resize_px * crop_px / self.crop_px)
        mode = self.resize_mode if resize_mode is None else resize_mode
        return replace(self, resize_px=max(resize_px, crop_px), crop_px=crop_px, resize_mode=mode)

    def keeping_shape(
        self, image_size_px: int | None, resize_px: int | None, resize_mode: str | None
    ) -> "Preprocessing":
        """The same for whole images. `image_size_px` limits the longer side and `resize_px` the shorter one.

        None leaves them; an image size alone counts for both.
        """
        crop_px = self.crop_px if image_size_px is None else image_size_px
        shorter_px = resize_px or (self.resize_px if image_size_px is None else crop_px)
        mode = resize_mode or (self.resize_mode if self.resize_mode != "crop" else "fit")
        return replace(self, resize_px=min(shorter_px, crop_px), crop_px=crop_px, resize_mode=mode, keeps_shape=True)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, for checkpoints and json; without what is as usual."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        usual = (("resize_mode", "crop"), ("keeps_shape", False))
        return {key: value for key, value in values.items() if (key, value) not in usual}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})

"""Large images in tiles that overlap, so that small objects are seen in their own size."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from src.data.decode import decode, open_image, upright_size

Place = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels of the upright image, x2 and y2 exclusive


@dataclass(frozen=True)
class Tiling:
    """Squares of `side_px` pixels, of which neighbours share at least the share `overlap` of a side."""

    side_px: int
    overlap: float

    def places(self, size_wh: tuple[int, int]) -> list[Place]:
        """Of the tiles of an image of this size, row by row; one that is no larger than a tile is one place."""
        columns, rows = (self.spans(side) for side in size_wh)
        return [(x1, y1, x2, y2) for y1, y2 in rows for x1, x2 in columns]

    def spans(self, side_px: int) -> list[tuple[int, int]]:
        """Where tiles begin and end along one side, at even distances."""
        if side_px <= self.side_px:
            return [(0, side_px)]
        step_px = max(1, int(self.side_px * (1 - self.overlap) + 1e-9))
        steps = -(-(side_px - self.side_px) // step_px)
        starts = [i * (side_px - self.side_px) // steps for i in range(steps + 1)]
        return [(start, start + self.side_px) for start in starts]

    def read(self, file: Path, needed_px: int) -> tuple[Image.Image, tuple[int, int], list[Place]]:
        """The image as of `read_sized`, with all of its pixels if it has several tiles, and the places of these.

        Raises UnreadableImage.
        """
        with open_image(file) as opened:
            size_wh = upright_size(opened)
            places = self.places(size_wh)
            return decode(opened, needed_px if len(places) == 1 else None), size_wh, places

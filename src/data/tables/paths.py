"""The path cells of a table: which file each of them means. Imports no torch."""

import posixpath
from collections.abc import Sequence
from pathlib import Path

from src.data.missing import is_there

TRIED = 20  # paths with \\ that are tried with / instead


class PathCells:
    """Reads cells chunk by chunk.

    Args:
        root: folder that relative paths start from.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.slashes: bool | None = None  # whether \\ means /; None = there was none yet

    def read(self, cells: Sequence[str]) -> list[str]:
        """Without blanks around them, unless a file is called so, and with / for \\ where the images are there so."""
        paths = [cell if cell == cell.strip() or is_there(self.root / cell) else cell.strip() for cell in cells]
        if windows := [path for path in paths if "\\" in path]:
            if self.slashes is None:
                self.slashes = self.are_there_with_slashes(windows[:TRIED])
            if self.slashes:
                paths = [path.replace("\\", "/") for path in paths]
        return [posixpath.normpath(path) if "//" in path or path.startswith("./") else path for path in paths]

    def are_there_with_slashes(self, paths: list[str]) -> bool:
        if any(is_there(self.root / path) for path in paths):
            return False
        return any(is_there(self.root / path.replace("\\", "/")) for path in paths)

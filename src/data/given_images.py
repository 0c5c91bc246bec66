"""The images that `images=` names: for predictions, explanations and exports. Imports no torch."""

import glob
import logging
from pathlib import Path

from src.data.decode import IMAGE_SUFFIXES
from src.data.folders.walk import walk
from src.data.missing import require_found
from src.data.tables.chunks import PathCells
from src.data.tables.table_file import TABLE_SUFFIXES, open_table
from src.files.printable import printable
from src.settings.errors import ConfigError
from src.settings.plurals import number_of

log = logging.getLogger(__name__)


def find_images(images: str, root: str | None = None) -> tuple[Path, list[str]]:
    """The images meant by a folder (with subfolders, sorted), a glob (sorted), a table's column `path`, or one file.

    Returns the folder that the paths are relative to, of a table `root` or else its own, and the paths: those of a
    table as they stand there. Raises ConfigError if there are none, or if most of a table's images are missing.
    """
    given = Path(images).expanduser()
    folder = Path() if root is None else Path(root).expanduser()
    if given.is_dir():
        return folder, images_below(images, given)
    if given.suffix.lower() in TABLE_SUFFIXES:
        folder = given.parent if root is None else folder
        return folder, paths_of_table(given, folder)
    if given.is_file():
        return folder, [str(given)]
    paths = sorted(path for path in glob.glob(str(given), recursive=True) if Path(path).is_file())  # noqa: PTH207
    if not paths:
        literal = str(given).replace("[", "[[]")
        brackets = " In a glob, [ ] is one of the characters in it. For a [ that belongs to a name: "
        hint = f"{brackets}images='{literal}'." if "[" in images else ""
        raise ConfigError(
            f"images='{images}' matches no file: give a folder, a quoted glob, an image, or a table (.csv, .parquet) "
            f"with a column path.{hint}"
        )
    return folder, paths


def images_below(images: str, folder: Path) -> list[str]:
    paths, left_out = walk(folder)
    for note in left_out.notes():
        log.info("images='%s': %s", images, note)
    if not paths:
        others = sum(left_out.other_files.values())
        instead = f", but {number_of(others, 'other file')}" if others else ""
        raise ConfigError(
            f"images='{images}' has no images{instead}: an image's name ends with {' '.join(sorted(IMAGE_SUFFIXES))}."
        )
    return [str(folder / path) for path in sorted(paths, key=lambda path: path.split("/"))]


def paths_of_table(file: Path, folder: Path) -> list[str]:
    """The column `path`, without empty cells, and with / where the images are there so and not with \\."""
    with open_table(file, "images") as table:
        place = table.place("path")
        cells = [str(cell) for chunk in table.chunks for cell in chunk.cells(place)]
    if not (cells := [cell for cell in cells if cell.strip()]):
        raise ConfigError(f"images='{file}' has no rows with a path.")
    paths = PathCells(folder).read(cells)
    if note := require_found(folder, paths, f"images='{file}'", "root"):
        log.warning("%s", printable(note))
    return paths

"""Where the images lie that annotation files name. No file is looked at but what lies in the data's own folders.

A folder is listed once, however many names lead to it. Shapes: N images. Imports no torch.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy.typing as npt

from src.data.annotations.image_names import AS_IT_IS, common_end, loose, spellings
from src.data.folders.split_names import split_of
from src.data.folders.walk import walk
from src.data.table import string_column
from src.settings.plurals import number_of

MISSING = ""


class ImagePlaces:
    """Finds images by the names that annotation files have for them.

    `root` is data.root, `folders` are others in which images may lie, the likeliest first. Names that lead out of these
    and of the annotation file's own folder are not followed: whoever wrote the file may not be the user.
    """

    def __init__(self, root: Path, folders: list[Path]) -> None:
        self.root = os.path.abspath(root)  # noqa: PTH100 - without following links, as .. in names is read
        self.folders = list(dict.fromkeys(placed(str(folder), self.root) for folder in folders))
        self.rules = Counter[str]()
        self.notes: list[str] = []

    def find(self, names: npt.NDArray[Any], sources: npt.NDArray[Any], splits: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Paths relative to the root (absolute where they lie outside), text [N]; MISSING where there is none."""
        self.rules.clear()
        triples = list(zip(names.tolist(), map(os.path.dirname, sources.tolist()), splits.tolist(), strict=True))
        found = [self.directly(*triple) for triple in triples]
        if any(path is None for path in found):
            taken = {path for path in found if path is not None}
            claims = defaultdict[str, set[str]](set)  # a file cannot be two images
            guesses = dict[int, tuple[str, str]]()
            for place, (name, _, split) in enumerate(triples):
                if found[place] is None and (guess := self.by_its_end(name, split)) and guess[0] not in taken:
                    guesses[place] = guess
                    claims[guess[0]].add(name)
            for place, (path, rule) in guesses.items():
                if len(claims[path]) == 1:
                    found[place] = path
                    self.rules[rule] += 1
        self.notes = [f"{number_of(count, 'image')}: {rule}." for rule, count in self.rules.most_common()]
        start = len(self.root.rstrip("/")) + 1
        return string_column(
            MISSING if path is None else path[start:] if is_below(path, self.root) else path for path in found
        )

    def directly(self, name: str, source_folder: str, split: str) -> str | None:
        """Where a name leads to from one of the folders that it may start from."""
        bases, allowed = self.bases(source_folder, split)
        for text, change in spellings(name):
            for base, words in bases:
                path = os.path.normpath(os.path.join(base, text))  # noqa: PTH118
                folder, base_name = os.path.split(path)
                if any(is_below(path, place) for place in allowed) and base_name in self.listing(folder):
                    words = "path absolute" if text.startswith("/") else words
                    self.rules[words if change == AS_IT_IS else f"{words}, {change}"] += 1
                    return path
        return None

    @cache  # noqa: B019 - an ImagePlaces lives as long as its data are read
    def bases(self, source_folder: str, split: str) -> tuple[list[tuple[str, str]], list[str]]:
        """Folders that names may start from, each in words, and those that they may not lead out of."""
        own = placed(source_folder, self.root)
        folders = sorted(self.folders, key=lambda folder: self.speaks_of_other(folder, split))
        bases = {own: "path relative to the annotation file's folder"} if source_folder else {}
        for folder in folders:
            bases.setdefault(folder, f"path relative to {'data.root' if folder == self.root else folder}")
        bases.setdefault(self.root, "path relative to data.root")
        return list(bases.items()), list(bases)

    def speaks_of_other(self, path: str, split: str) -> int:
        """0 if a folder on the way speaks of this split, 2 if of another one alone, 1 if of none."""
        parts = path.removeprefix(self.root).split("/")
        said = {found for part in parts if (found := split_of(part))} if split else set()
        return 1 if not said else 0 if split in said else 2

    @cache  # noqa: B019
    def listing(self, folder: str) -> frozenset[str]:
        """Names of the files in a folder; none if it cannot be read."""
        try:
            with os.scandir(folder) as entries:
                return frozenset(entry.name for entry in entries if is_file(entry))
        except (OSError, ValueError):  # a byte of zero, too long a name
            return frozenset()

    @cached_property
    def everywhere(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """All images below the root and the folders by their base names, and by what is loosely the same."""
        exact, alike = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
        for path in self.all_images():
            exact[os.path.basename(path)].append(path)  # noqa: PTH119
            alike[loose(path)].append(path)
        return exact, alike

    def all_images(self) -> Iterator[str]:
        """Every file once, however many of the folders lie in each other or are links to each other."""
        real_folder, seen = cache(os.path.realpath), set[tuple[str, str]]()
        for place in [self.root, *self.folders]:
            paths, _ = walk(Path(place))
            for path in paths:
                folder, name = os.path.split(whole := f"{place}/{path}")
                if (key := (real_folder(folder), name)) not in seen and os.path.exists(whole):  # noqa: PTH110
                    seen.add(key)
                    yield whole

    def by_its_end(self, name: str, split: str) -> tuple[str, str] | None:
        """The one image whose path ends like this name, and in words how it was found; None if there is not one."""
        exact, alike = self.everywhere
        for text, _ in spellings(name):
            if candidates := exact.get(os.path.basename(text)):  # noqa: PTH119
                path, parts = self.best(candidates, text, split)
                return path and (path, "by base name alone" if parts < 2 else "by the end of the path")
        for text, _ in spellings(name):
            if candidates := alike.get(loose(text)):
                path, _ = self.best(candidates, text, split)
                return path and (path, "by base name, with another ending or other capital letters")
        return None

    def best(self, candidates: list[str], name: str, split: str) -> tuple[Any, int]:
        """Of several images that whose path agrees longest with the name, or else lies in the folder of the split."""
        parts = [common_end(path, name) for path in candidates]
        longest = [path for path, count in zip(candidates, parts, strict=True) if count == max(parts)]
        if len(longest) > 1:
            longest = [path for path in longest if self.speaks_of_other(path, split) == 0]
        return (longest[0] if len(longest) == 1 else None), max(parts)


def is_below(path: str, folder: str) -> bool:
    return path.startswith(folder if folder.endswith("/") else f"{folder}/")


def placed(path: str, root: str) -> str:
    """Absolute. A relative path may start from the working directory, as data.root does, or from data.root itself."""
    from_here = os.path.abspath(path)  # noqa: PTH100
    below_root = os.path.abspath(os.path.join(root, path))  # noqa: PTH100, PTH118
    return below_root if not is_below(f"{from_here}/", root) and os.path.exists(below_root) else from_here  # noqa: PTH110


def is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:  # links that lead to each other
        return False

"""Which json files of a folder are read, for which split, and where their images may lie. Imports no torch."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from src.data.folders.split_names import SPLIT_WORDS, listed, split_and_rest
from src.data.folders.walk import is_left_alone
from src.settings.errors import ConfigError

DEEPEST = 2  # folders below data.root in which json files are looked for
MOST = 2_000  # json files that are looked into; where there are more, each belongs to one image
PEEK = 1 << 16  # bytes at either end
# Words in names of files that say nothing about which objects they are about.
PLAIN = frozenset(
    "instances instance annotations annotation labels label coco detection bbox boxes default result updated".split()  # noqa: SIM905
)


@dataclass
class CocoLayout:
    """`files` with their split (empty = not split), and what people should know about the choice."""

    files: dict[Path, str]
    notes: list[str] = field(default_factory=list)


def find_files(root: Path, file: Path | None) -> CocoLayout:
    """One json if it is named, which is then to be cut; else those of the splits below root, or the only one.

    The split is in the file's name (instances_train2017.json) or in that of a folder it lies in
    (valid/_annotations.coco.json). Raises ConfigError if there are none, or if it is not clear which are meant.
    """
    if file is not None:
        there = next((path for path in (file, root / file) if path.is_file()), None)
        if there is None:
            raise ConfigError(f"data.file='{file}' does not exist, neither from here nor in data.root='{root}'.")
        return CocoLayout({there: ""})
    found = [path for path in json_files(root) if looks_like_coco(path)]
    if not found:
        raise ConfigError(
            f"data.root='{root}': there is no json file of COCO's kind (images, annotations, categories) in it or in "
            f"folders up to {DEEPEST} below it. Name one: data.file=<json>."
        )
    files, left = chosen(root, found)
    others = [str(path.relative_to(root)) for path in left]
    return CocoLayout(files, [f"data.root='{root}': not read: {listed(others)}."] if others else [])


def json_files(root: Path) -> list[Path]:
    found, todo = list[Path](), [(root, 0)]
    while todo:
        folder, depth = todo.pop(0)
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            continue
        found += [entry for entry in entries if entry.suffix.lower() == ".json" and entry.name[0] != "."]
        if len(found) > MOST:
            raise ConfigError(
                f"data.root='{root}' has over {MOST:,} json files: name that of all objects, data.file=<json>. Files "
                "of one image each (LabelMe) are not read: export them as COCO."
            )
        if depth < DEEPEST:
            todo += [(entry, depth + 1) for entry in entries if not is_left_alone(entry.name) and entry.is_dir()]
    return [path for path in found if path.is_file()]


def looks_like_coco(path: Path) -> bool:
    """Whether its beginning or end names parts of COCO's, or its name says so; an empty file counts too.

    What then lacks parts is told about when it is read: no split may go missing in silence.
    """
    if path.name.lower().endswith(".coco.json"):
        return True
    try:
        with path.open("rb") as content:
            ends = content.read(PEEK)
            content.seek(max(path.stat().st_size - PEEK, len(ends)))
            ends += content.read(PEEK)
    except OSError:
        return False
    if not ends.strip() or ends.startswith(b"version https://git-lfs"):
        return True
    ends = ends.replace(b"\0", b"")  # UTF-16
    named = [part for part in (b'"images"', b'"annotations"', b'"categories"', b'"image_id"') if part in ends]
    return len(named) > 1


def chosen(root: Path, found: list[Path]) -> tuple[dict[Path, str], list[Path]]:
    """The files with their split, and those left aside. Raises ConfigError if it is not clear."""
    kinds: dict[str, list[tuple[Path, str]]] = {}
    for path in found:
        split, rest = split_and_kind(path.relative_to(root))
        kinds.setdefault(rest, []).append((path, split))
    kind = "" if "" in kinds else next(iter(kinds))
    files = kinds.pop(kind)
    splits = [split for _, split in files]
    if (len(files) > 1 and ("" in splits or len(set(splits)) < len(splits))) or (kind and kinds):
        names = [str(path.relative_to(root)) for path in found]
        raise ConfigError(
            f"data.root='{root}' has several json files, and it is not clear which belong together: {listed(names)}. "
            "Name one, data.file=<json>, or keep one for each split, called train.json, val.json and test.json."
        )
    return dict(files), [path for others in kinds.values() for path, _ in others]


def split_and_kind(path: Path) -> tuple[str, str]:
    """Of a file below root: train, val, test or nothing, and what else its name says (`captions`)."""
    stem = re.sub(r"[._-]+", " ", path.stem)
    split, rest = split_and_rest(stem)
    words = [word for word in re.findall(r"[^\W\d_]+", rest.lower()) if word not in PLAIN]
    if split is None:
        folders = [SPLIT_WORDS.get(part.lower()) or split_and_rest(part)[0] for part in reversed(path.parts[:-1])]
        split = next((name for name in folders if name is not None), None)
    return split or "", " ".join(words)


def image_folders(root: Path, file: Path, image_folder: Path | None) -> list[Path]:
    """Where the images of a json may lie, the likeliest first: folders that are there."""
    own, split = file.parent, split_and_rest(file.stem)[0]
    if image_folder is not None:
        return [path for path in (image_folder, root / image_folder) if path.is_dir()][:1]
    named = file.stem.split("_")[-1]  # train2017 of instances_train2017
    around = [own, own.parent, root] if own != root and root in own.parents else [own, root]
    alike = [word for word, stands_for in SPLIT_WORDS.items() if split is not None and stands_for == split]
    names = [named, *alike]
    places = [base / name for base in around for name in ("", "images", "data", "JPEGImages")]
    places += [base / above / name for base in around for above in ("", "images") for name in names]
    by_split = [place for place in places if place.name in names]
    found = by_split + [place for place in places if place not in by_split]
    return [place for place in dict.fromkeys(found) if place.is_dir()]

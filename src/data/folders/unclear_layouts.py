"""Layouts that cannot be read, or in two ways: what is said about them. Imports no torch."""

from pathlib import Path

from src.data.decode import IMAGE_SUFFIXES
from src.data.folders.split_names import SHOWN, folders_by_split, listed
from src.data.folders.walk import Folder
from src.settings.errors import ConfigError


def refuse_unclear_splits(
    root: Path,
    folder: Folder,
    found: dict[str, Folder],
    claims: dict[str, list[str]],
    others: list[Folder],
    known: set[str] | None,
) -> None:
    """Raise ConfigError if what lies beside the splits may be meant as classes, or if there is nothing to train on."""
    beside = listed(other.name for other in others)
    if others and len(claims) == 1:
        split, place = next(iter(found.items()))
        raise ConfigError(
            f"data.root='{root}': {folder.path} holds the split {split} with class folders, and beside it {beside}. "
            f"Are these classes, or other splits? For the classes in {place.path} alone: data.root='{place.path}'. "
            "Else put class folders on one level, and call splits train, val and test."
        )
    if "train" not in found and known is None:
        places = ", ".join(f"data.root='{place.path}'" for place in found.values())
        flat = claims.get("train")
        why = f"the images in {listed(flat)} lie in no class folders" if flat else "there is no train folder"
        raise ConfigError(
            f"data.root='{root}' has the splits {listed(found)}, and {why}. To train on one of these: {places}."
        )


def refuse_without_classes(root: Path, folder: Folder) -> None:
    suffixes = " ".join(sorted(IMAGE_SUFFIXES))
    expected = f"Expected one folder per class, each with images ({suffixes})."
    if folder.has_images:
        raise ConfigError(
            f"data.root='{root}': the images lie directly in {folder.path}, in no class folders. {expected} "
            f"{table_hint(root, folder.path)}"
        )
    raise ConfigError(f"data.root='{root}': no images in {folder.path}. {expected}")


def refuse_flat_splits(root: Path, folder: Folder, names: list[str]) -> None:
    raise ConfigError(
        f"data.root='{root}': the images lie directly in {listed(names)}, which are names of splits and no classes. "
        f"Put them into class folders, such as {folder.path / names[0]}/<class>. "
        f"{table_hint(root, folder.path / names[0])}"
    )


def refuse_wrong_level(root: Path, folder: Folder) -> None:
    """Raise ConfigError if the classes seem to be a level deeper: they hold splits, or all hold the same subfolders."""
    children = folder.children
    for child in children:
        if child.has_images:
            continue
        claims = folders_by_split(inner.name for inner in child.children)
        if len(claims) > 1 or ("train" in claims and len(child.children) == 1):
            split = child.path / claims.get("train", next(iter(claims.values())))[0]
            if Folder(split).has_images:
                raise ConfigError(
                    f"data.root='{root}': the splits lie in the class folders ({split}). Put the class folders into "
                    f"the split folders instead: {split.name}/{child.name}."
                )
            places = [f"data.root='{other.path}'" for other in children if not other.has_images]
            raise ConfigError(
                f"data.root='{root}': the splits lie one level deeper ({split}). Give {' or '.join(places[:SHOWN])}."
            )
    inner_names = [{inner.name for inner in child.children} for child in children if not child.has_images]
    if len(inner_names) < len(children) or len(children) < 2:
        return
    first = inner_names[0]
    if first and all(names == first for names in inner_names) and len(first) >= len(children):
        outer = listed(child.name for child in children)
        raise ConfigError(
            f"data.root='{root}': {outer} all hold the same folders ({listed(sorted(first))}). Are these the "
            f"classes? Then give one of the outer folders, data.root='{children[0].path}', or call the outer folders "
            "train, val and test. If the outer folders are the classes, put their images directly into them, or list "
            "them in a table: data=csv data.file=<table.csv>."
        )


def table_hint(root: Path, images: Path) -> str:
    """How to train on a table that lies beside the images, or on any table."""
    tables = sorted(path for path in {*root.glob("*.csv"), *images.parent.glob("*.csv")} if path.is_file())
    if not tables:
        return "Or list them in a table: data=csv data.file=<table.csv>."
    return f"Or take their labels from a table: data=csv data.file='{tables[0]}' data.root='{images}'."

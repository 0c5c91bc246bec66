"""Names: how they are compared and listed, and which of them people give to train, val and test. Imports no torch."""

import re
import unicodedata
from collections.abc import Iterable

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainval", "trainset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "valset", "dev", "devel", "devset"), "val"),
    **dict.fromkeys(("eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "testset", "holdout"), "test"),
}
# Words beside these that say nothing about the classes, as in train_images and train2017.
NEUTRAL = frozenset(
    ["image", "images", "img", "imgs", "photo", "photos", "data", "dataset", "set", "split", "folder", "files"]
)
SHOWN = 5  # names in a message


def same_text(text: str) -> str:
    """The text in the one of Unicode's spellings (NFC) in which names are compared: é may be one sign or two."""
    return unicodedata.normalize("NFC", text)


def listed(names: Iterable[str]) -> str:
    """The first few names, with commas."""
    found = list(names)
    return ", ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")


def split_of(name: str) -> str | None:
    """train, val or test, where the name is a usual word for it and says nothing else; None otherwise."""
    split, rest = split_and_rest(name)
    return split if not rest else None


def split_and_rest(name: str) -> tuple[str | None, str]:
    """The split in a folder's name, and what else it says: (train, seg) of seg_train; (None, name) of none or two."""
    text = re.sub(r"hold[ _-]?out", "holdout", name, flags=re.IGNORECASE)
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\WA-Z\d_]+|\d+", text)]
    splits = [word for word in words if word in SPLIT_WORDS]
    if len(splits) != 1:
        return None, name
    rest = [word for word in words if word not in SPLIT_WORDS and word not in NEUTRAL and not word.isdigit()]
    return SPLIT_WORDS[splits[0]], " ".join(rest)


def folders_by_split(names: Iterable[str]) -> dict[str, list[str]]:
    """The names of folders that stand for each split; more than one where it is not clear which.

    Plain names (`Train`, `train_images`, `train2017`) always stand for theirs, and go before others. Names that say
    more count where at least two splits share it (`seg_train`, `seg_test`), since a class may be a `steam_train`.
    """
    plain: dict[str, list[str]] = {}
    more: dict[str, dict[str, list[str]]] = {}
    for name in names:
        split, rest = split_and_rest(name)
        if split is not None:
            (more.setdefault(rest, {}) if rest else plain).setdefault(split, []).append(name)
    if plain:
        exact = {split: [name for name in found if name.lower() in SPLIT_WORDS] for split, found in plain.items()}
        return {split: exact[split] or found for split, found in plain.items()}
    shared = [found for found in more.values() if len(found) > 1]
    return shared[0] if len(shared) == 1 else {}

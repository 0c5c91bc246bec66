"""Names of classes are what a class is: which are the same, which nobody uses. Imports no torch.

Shapes: M boxes, K classes.
"""

from collections import defaultdict

import numpy as np
import numpy.typing as npt

from src.data.folders.split_names import listed, same_text

DIFFERENT = "are different classes"
Ids = npt.NDArray[np.int64]


def used_classes(names: list[str], class_M: Ids, file_M: Ids, notes: list[str]) -> tuple[list[str], Ids]:
    """The names that boxes have, in their order, and the classes of the boxes as indices into them.

    Names that differ in blanks or in how Unicode writes them are one class; those that differ in capital letters too,
    unless one file (`file_M`: of each box) has boxes of both: `a` and `A` may be two classes. The most frequent name
    stays.
    """
    counts_K = np.bincount(class_M, minlength=len(names))
    if unused := [name for name, count in zip(names, counts_K.tolist(), strict=True) if not count]:
        notes.append(f"Classes that no box has are left out: {listed(unused)}.")
    target_K = np.arange(len(names))
    for key in (plain, str.casefold):
        alike = defaultdict[str, list[int]](list)
        for k in np.unique(target_K[counts_K > 0]).tolist():
            alike[key(plain(names[k]))].append(k)
        for group in (group for group in alike.values() if len(group) > 1):
            if key is str.casefold and share_a_file(group, target_K[class_M], file_M):
                notes.append(f"{spelled(names, group)} {DIFFERENT}, since one file has boxes of both.")
                continue
            stays = max(group, key=lambda k: int(counts_K[k]))
            notes.append(f"{spelled(names, group)} are one class, '{plain(names[stays])}'.")
            target_K[np.isin(target_K, group)] = stays
    kept = np.unique(target_K[counts_K > 0])
    return [plain(names[k]) for k in kept.tolist()], np.searchsorted(kept, target_K[class_M])


def plain(name: str) -> str:
    """In the one of Unicode's spellings that counts, with single blanks."""
    return " ".join(same_text(name).split())


def spelled(names: list[str], group: list[int]) -> str:
    return " and ".join(f"'{names[k]}'" for k in group)


def share_a_file(group: list[int], class_M: Ids, file_M: Ids) -> bool:
    files = [np.unique(file_M[class_M == k]) for k in group]
    return len(np.unique(np.concatenate(files))) < sum(map(len, files))


def as_model_spells(names: list[str], known: list[str] | None, notes: list[str]) -> list[str]:
    """The names, in capital letters as the trained model has them where they differ in these alone."""
    if known is None:
        return names
    exact = {plain(name): name for name in known}
    of_known = defaultdict[str, list[str]](list)
    for key, name in exact.items():
        of_known[key.casefold()].append(name)
    found = []
    for name in names:
        fitting = of_known[name.casefold()]
        found.append(exact.get(name) or (fitting[0] if len(fitting) == 1 else name))
        if found[-1] != name:
            notes.append(f"The class '{name}' is the model's '{found[-1]}'.")
    return found

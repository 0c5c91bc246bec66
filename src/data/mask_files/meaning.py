"""Which class each value of the masks is: values first, then their names. Imports no torch.

Shapes: V codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from src.data.folders.split_names import listed
from src.data.mask_files.class_table import ClassTable, is_void
from src.data.mask_files.codes import COLOR, FULL, OTHERS, VOID_VALUE, Codes, is_color, text_of
from src.data.masks import GROUND, MOST_CLASSES, Mask, percent
from src.evaluation.pixels.confusion import VOID
from src.settings.errors import ConfigError

BINARY = {0: GROUND, FULL: "foreground"}
LISTED_VALUES = 20  # in messages
MOST_NAMELESS = 0.5  # share of all pixels from which a table is not that of these masks
# Of masks of two values without a table: so many values between them, on so small a share of the pixels, are edges that
# were smeared, by resizing or by a JPEG.
SMEARED_VALUES, SMEARED_SHARE = 64, 0.2


@dataclass
class Meaning:
    """`names` of the classes; of each of the `codes` int64 [V], ascending, the class `ids` uint8 [V], VOID where nobody
    says what there is. `unnamed`: codes that ought to have a name.
    """

    codes: Codes
    ids: Mask
    names: list[str]
    unnamed: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_meaning(
    where: str,
    codes: Codes,
    pixels: Codes,
    table: ClassTable | None,
    ignored: Sequence[int | str],
    known: list[str] | None,
) -> Meaning:
    """`where` names the data in messages; `pixels` int64 [V] of each code; `ignored`: data.ignore_values; `known`: the
    classes of a trained model. Raises ConfigError if no class is left, or more than 255.
    """
    shares = dict(zip(codes.tolist(), (pixels / max(int(pixels.sum()), 1)).tolist(), strict=True))
    notes = list[str]()
    names = named_by(table, where, shares, ignored, known, notes)
    void = void_codes(where, codes.tolist(), names, table, ignored, notes)
    unnamed = [code for code in shares if code not in names and code not in void]
    require_table(where, table, shares, unnamed)
    in_order = list(table.names.values()) if table else [names[code] for code in sorted(names)]
    there = {name for code, name in names.items() if code not in void}
    classes = [name for name in dict.fromkeys(in_order) if name in there]
    if len(classes) > MOST_CLASSES:
        raise ConfigError(
            f"{where}: its masks have {len(classes):,} different values, and {MOST_CLASSES} classes are the most. Are "
            "they numbers of objects, or depths, or smeared by a JPEG? Name the values that are classes in a table "
            "(data.classes=<file>), or leave some out (data.ignore_values=[...])."
        )
    if not classes or (len(classes) < 2 and known is None):
        only = f"only one class, '{classes[0]}'" if classes else "no class"
        raise ConfigError(
            f"{where}: its masks show {only}. It takes at least two. Values: {told(shares, names, void)}. Names of "
            "values are in a table, data.classes=<file>."
        )
    ids = [VOID if code in void or code in unnamed else classes.index(names[code]) for code in shares]
    notes.append(f"Values of the masks: {told(shares, names, void)}.")
    if table and (unused := [name for name in dict.fromkeys(table.names.values()) if name not in names.values()]):
        notes.append(f"Classes of {table.file.name} that no pixel has are left out: {listed(unused)}.")
    return Meaning(codes, np.array(ids, dtype=np.uint8), classes, unnamed, notes)


def named_by(
    table: ClassTable | None,
    where: str,
    shares: dict[int, float],
    ignored: Sequence[int | str],
    known: list[str] | None,
    notes: list[str],
) -> dict[int, str]:
    """The name of each code that has one: of the table; else its value, or those of two classes."""
    if table is not None:
        names = table.named(shares)
        if in_place := sorted(code for code in names if code < COLOR and table.colors):
            first = ", ".join(f"{code} = {names[code]}" for code in in_place[:3])
            notes.append(f"{table.file.name} has colours, and the masks have values: they are read as {first}, ...")
        return names
    of_two = set(shares) <= set(BINARY) and FULL not in ignored
    if of_two and (FULL in shares or known == list(BINARY.values())):
        notes.append(
            f"{where}: the masks have the values 0 and 255 alone, and are read as two classes, background and "
            "foreground. If 255 means void: data.ignore_values=[255]; other names: data.classes=<table>."
        )
        return {code: name for code, name in BINARY.items() if code in shares}
    between = [code for code in shares if 0 < code < FULL]
    smeared = 1 - shares.get(0, 0) - shares.get(FULL, 0)
    if len(between) >= SMEARED_VALUES and FULL in shares and smeared < SMEARED_SHARE:
        raise ConfigError(
            f"{where}: its masks have the values 0 and 255, and {len(between)} others on {percent(smeared)} of the "
            "pixels: edges that were smeared by resizing or by a JPEG. Make the masks anew without interpolation; or "
            "name 0 and 255 in a table (data.classes=<file>), and the others are void."
        )
    return {code: str(code) for code in shares if code != OTHERS and not is_color(code)}


def void_codes(
    where: str,
    codes: list[int],
    names: dict[int, str],
    table: ClassTable | None,
    ignored: Sequence[int | str],
    notes: list[str],
) -> set[int]:
    """255, unless it is a class of its own; what the table calls void; and data.ignore_values."""
    void = {code for code, name in names.items() if table is not None and is_void(name)}
    for one in ignored:
        fitting = {code for code in codes if str(one) in (names.get(code), text_of(code))}
        if not fitting and not isinstance(one, int):
            known = listed(dict.fromkeys(names.values()))
            raise ConfigError(f"data.ignore_values: '{one}' is no class and no value of {where}. It has: {known}.")
        if not fitting and one != VOID_VALUE:
            notes.append(f"data.ignore_values: no mask has the value {one}.")
        void |= fitting
    if names.get(VOID_VALUE) in (None, str(VOID_VALUE)):
        void.add(VOID_VALUE)
    return void


def require_table(where: str, table: ClassTable | None, shares: dict[int, float], unnamed: list[int]) -> None:
    """Raise ConfigError for colours without a table, and for a table that leaves most pixels without a name."""
    share = sum(shares[code] for code in unnamed)
    colors = [code for code in unnamed if is_color(code)]
    if table is None and colors and share > MOST_NAMELESS:
        raise ConfigError(
            f"{where}: its masks have colours ({told_some(colors, shares)}), and no table says what they mean: "
            "data.classes=<file>, such as CVAT's labelmap.txt (road:128,64,128::), CamVid's label_colors.txt "
            "(128 64 128 road) or a yaml (road: [128, 64, 128])."
        )
    if table is not None and share > MOST_NAMELESS:
        raise ConfigError(
            f"{where}: data.classes='{table.file}' has no name for values on {percent(share)} of the pixels "
            f"({told_some(unnamed, shares)}): is it the table of these masks? It has "
            f"{listed(map(text_of, table.names))}."
        )


def told_some(codes: list[int], shares: dict[int, float]) -> str:
    most = sorted(codes, key=lambda code: -shares[code])
    return "; ".join(f"{text_of(code)} {percent(shares[code])}" for code in most[:5]) + ("; ..." if codes[5:] else "")


def told(shares: dict[int, float], names: dict[int, str], void: set[int]) -> str:
    """The first values, each with its name and its share of all pixels, and 255 where it is void."""
    texts = list[str]()
    for place, (code, share) in enumerate(shares.items()):
        if place >= LISTED_VALUES and (code != VOID_VALUE or code not in void):
            continue
        name = names.get(code)
        called = f" ({name})" if name not in (None, str(code)) else ""
        meaning = ", void" if code in void else "" if name is not None else ", no name"
        texts.append(f"{text_of(code)}{called} {percent(share)}{meaning}")
    more = len(shares) - len(texts)
    return "; ".join(texts) + (f"; and {more:,} more" if more else "")

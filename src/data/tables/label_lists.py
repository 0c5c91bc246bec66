"""Several classes in one cell of a table: what separates them. Imports no torch."""

import ast
from collections import Counter
from collections.abc import Collection

from src.settings.errors import ConfigError

SEPARATORS = {"semicolon": ";", "pipe": "|", "comma": ",", "tab": "\t"}  # words for what shells take otherwise
REUSED = 0.5  # share of the parts of cells with commas that other cells have too, from which commas separate


def find_separator(texts: Collection[str], given: str | None, table: str) -> tuple[str, str]:
    """What separates the classes in the cells `texts`, each there once; and a note about it, empty where it is ;.

    `given` is data.label_separator, `table` the setting that names the table. Raises ConfigError where commas may
    separate classes or belong to their names.
    """
    if given is not None:
        if not given.strip():
            raise ConfigError(
                f"data.label_separator='{given}' is empty. Allowed: {', '.join(SEPARATORS)}, or any text."
            )
        separator = SEPARATORS.get(given, given)
        idle = separator != ";" and not any(separator in text for text in texts)
        return separator, f"{table}: no label has the data.label_separator '{separator}' in it." if idle else ""
    if any(";" in text for text in texts):
        return ";", ""
    taken = "separates classes in the label column. If it belongs to the names: data.label_separator=semicolon."
    if any("|" in text for text in texts):
        return "|", f"{table}: | {taken}"
    with_commas = [text for text in texts if "," in text and not is_list(text)]
    if not with_commas:
        return ";", ""
    cells_of_part = Counter(part for text in texts if not is_list(text) for part in set(split_text(text, ",")))
    parts = {part for text in with_commas for part in split_text(text, ",")}
    reused = sum(cells_of_part[part] > 1 for part in parts)
    if reused >= REUSED * len(parts):
        return ",", f"{table}: , {taken}"
    if not reused:
        return ";", f"{table}: commas belong to the names in the label column. If not: data.label_separator=comma."
    raise ConfigError(
        f"{table}: the label column has commas, e.g. '{with_commas[0]}'. If they separate classes, set "
        "data.label_separator=comma; if they belong to the names, data.label_separator=semicolon."
    )


def is_list(text: str) -> bool:
    return text.startswith("[") and text.endswith("]")


def split_text(text: str, separator: str) -> list[str]:
    """The classes in a cell: stripped, without empty ones."""
    return [part for part in map(str.strip, text.split(separator)) if part]


def classes_in(text: str, separator: str) -> list[str]:
    """As split_text, but a cell may also be a list as Python and JSON write it: `['cat', 'dog']`."""
    if is_list(text):
        try:
            items = ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            items = None
        if isinstance(items, list) and all(isinstance(item, str | int) for item in items):
            return [part for part in (str(item).strip() for item in items) if part]
    return split_text(text, separator)

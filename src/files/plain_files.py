"""Files of a run that may be somebody else's, read as plain data: nothing in them is resolved, and all is bounded."""

import json
import math
import re
from pathlib import Path
from typing import Any

import yaml

from src.files.printable import printable
from src.settings.errors import ConfigError

MOST_YAML, MOST_JSON = 2**20, 2**24  # bytes
DEEPEST = 30


def read_json(file: Path) -> dict[str, Any]:
    """A mapping of plain data; NaN and infinity become None. Raises ConfigError, which names the file."""
    text = read_text(file, MOST_JSON)
    try:
        values = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        what = "no JSON" if isinstance(error, ValueError) else "nested too deeply"
        raise unreadable(file, f"it is {what}") from error
    return plain_mapping(file, values)


def read_yaml(file: Path) -> dict[str, Any]:
    """As `read_json`: no tags, no anchors, and ${...} stays as it is written."""
    text = read_text(file, MOST_YAML)
    try:
        values = yaml.load(text, PlainLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise unreadable(file, f"{getattr(error, 'problem', None) or 'it is no YAML'}{where}") from error
    except (ValueError, RecursionError) as error:
        raise unreadable(file, "it is nested too deeply, or has a number that is none") from error
    return plain_mapping(file, values)


class PlainLoader(yaml.SafeLoader):
    """Mappings, lists, texts, numbers: a few bytes cannot stand for gigabytes, nor a tag for an object."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        aliased = isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None
        if aliased or getattr(event, "tag", None) is not None:
            problem = f"{'anchors and aliases (& and *)' if aliased else 'tags (!)'} are not taken"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


# As OmegaConf reads what it wrote: 1e-3 is a number, a date is a text.
PlainLoader.yaml_implicit_resolvers = {
    start: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":float", ":merge"))]
    for start, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d[\d_]*\.[\d_]*([eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+|\.\d[\d_]*([eE][-+]?\d+)?)|[-+]?\.inf|\.nan"
               r"|[-+]?\.(?:Inf|INF)|\.(?:NaN|NAN)"),
    list("-+0123456789."),
)  # fmt: skip


def read_text(file: Path, most: int) -> str:
    check_size(file, most)
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(file, error.strerror or "" if isinstance(error, OSError) else "it is no UTF-8") from error


def check_size(file: Path, most: int) -> None:
    if not file.is_file():
        raise unreadable(file, "there is no such file")
    if (size := file.stat().st_size) > most:
        raise unreadable(file, f"it has {size / 2**20:.0f} MB, and {most / 2**20:.0f} are the most")


def plain_mapping(file: Path, values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise unreadable(file, "it is no mapping of names and values")
    plain: dict[str, Any] = plain_copy(file, values, 0)
    return plain


def plain_copy(file: Path, value: Any, depth: int) -> Any:
    """With names as text, and with every text as a terminal may show it."""
    if depth > DEEPEST:
        raise unreadable(file, "it is nested too deeply")
    if isinstance(value, dict):
        return {printable(str(name)): plain_copy(file, inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain_copy(file, inner, depth + 1) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and abs(value) > 2**63:
        raise unreadable(file, f"it has a number of {value.bit_length()} bits")
    if value is not None and not isinstance(value, bool | int | float | str):
        raise unreadable(file, f"it has a value of the kind {type(value).__name__}")
    return printable(value) if isinstance(value, str) else value


def unreadable(file: Path, reason: str) -> ConfigError:
    return ConfigError(f"'{file}' cannot be read: {printable(reason)}.")

"""Text of the data in Markdown and YAML, in which it stays text."""

import json
import math
import re
from pathlib import PurePath
from typing import Any

TO_FILL_IN = "**TO FILL IN**"  # what only a person can know


def plain(value: Any) -> str:
    """Text of the data as Markdown that shows it and nothing else: no markup, table cell, link or HTML comes of it."""
    text = "".join(c if c.isprintable() else " " for c in str(value)).encode("utf-8", "replace").decode()
    text = re.sub(r"([\\`*_{}\[\]()#+!|~$^=:-])", r"\\\1", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"(?<=\d)\.", r"\\.", text).replace("@", "&#64;").strip() or "(blank)"


def yaml_text(value: Any) -> str:
    """A quoted YAML scalar: JSON's strings are YAML's."""
    return json.dumps(str(value).encode("utf-8", "replace").decode(), ensure_ascii=True)


def last_part(path: Any) -> str:
    """Of a path the name alone: the folders above say whose machine it was."""
    return PurePath(str(path).replace("\\", "/")).name or str(path)


def number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) and math.isfinite(value) else "not measured"

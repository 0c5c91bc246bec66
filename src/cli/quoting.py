"""One `key=value` as it is typed, made into what Hydra understands: free text is quoted, paths are expanded."""

import re
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from src.settings.check import NAMES, PATHS
from src.settings.errors import ConfigError
from src.settings.project import CONF_DIR

KEY = re.compile(r"(?:\+\+?|~)?[\w@./\\-]+")
LISTS = ("ckpt", "data.label_columns")  # texts, of which there may also be several in brackets
PARSER = OverridesParser.create()


def quoted(text: str) -> str:
    """The text in Hydra's quotes: backslashes count only in front of a quote, and there they are doubled."""
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), text)
    return f'"{escaped}"'


def is_understood(argument: str) -> bool:
    """Whether Hydra's grammar takes it as it is."""
    try:
        PARSER.parse_override(argument)
    except HydraException:
        return False
    return True


def value_of(argument: str) -> Any:
    """The value of `key=value`, as Hydra reads it. Raises ConfigError for what it cannot read, and for sweeps."""
    try:
        override = PARSER.parse_override(argument)
    except HydraException as error:
        raise ConfigError(not_understood(argument)) from error
    if override.is_sweep_override():
        raise ConfigError(f"{argument}: several values make a sweep, and only one is possible here.")
    return override.value()


def not_understood(argument: str) -> str:
    key, equals, value = argument.partition("=")
    if not equals or key != key.strip() or not KEY.fullmatch(key.strip()):
        return f"'{argument}' is not understood: settings are given as key=value, with no blanks around the =."
    return (
        f"{key}: the value {value} is not understood. Text with special characters is put in quotes, and these in "
        f"quotes for the shell: '{key}=\"<text>\"'. Lists are [a, b], mappings {{a: 1}}."
    )


def readable(argument: str, sweeping: bool) -> str:
    """`key=value` with the value quoted where it is free text, or where Hydra could not read it otherwise."""
    key, equals, value = argument.partition("=")
    if not equals or argument.startswith("-"):
        return argument
    name = key.lstrip("+")
    if not KEY.fullmatch(key):
        raise ConfigError(not_understood(argument))
    if not value:
        if name in PATHS:
            raise ConfigError(
                f"{argument} is empty: give a path, or leave {name} out. (Is it a shell's variable that is not set?)"
            )
        return argument
    if name == "ckpt" and value.startswith("[") and value.endswith("]") and not {'"', "'"} & set(value):
        paths = [part.strip() for part in value[1:-1].split(",")]
        return f"{key}=[{','.join(quoted(str(Path(path).expanduser())) for path in paths if path)}]"
    several = (sweeping and "," in value) or (name in LISTS and value.startswith("["))
    special = value in ("null", "???") or value.startswith(("'", '"', "${"))
    if name in (*PATHS, *NAMES) and not special and not several:
        expanded = str(Path(value).expanduser()) if name in PATHS and value.startswith("~") else value
        return f"{key}={quoted(expanded)}"
    if is_group(name) and re.fullmatch(r"[+-]?[\d.]+|true|false", value, re.IGNORECASE):
        return f"{key}={quoted(value)}"  # an option has a name, even if it looks like a number
    if is_understood(argument):
        return argument
    parts = value[1:-1] if value.startswith("[") and value.endswith("]") else value if sweeping else None
    if parts is not None and is_understood(listed := f"{key}={quoted_parts(parts, value.startswith('['))}"):
        return listed
    return f"{key}={quoted(value)}" if is_understood(f"{key}={quoted(value)}") else argument


def is_group(name: str) -> bool:
    return "." not in name and (CONF_DIR / name).is_dir()


def quoted_parts(several: str, brackets: bool) -> str:
    """`a b,c` with each part quoted that needs it, in brackets or not."""
    parts = [part.strip() for part in several.split(",")]
    text = ",".join(part if is_understood(f"x={part}") else quoted(part) for part in parts)
    return f"[{text}]" if brackets else text

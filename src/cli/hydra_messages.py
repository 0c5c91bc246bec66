"""What Hydra and OmegaConf say of settings that they refuse, made shorter and clearer. No torch."""

import dataclasses
import re

from src.cli.options import group_message, groups_of, missing_option_message, unknown_key_message
from src.cli.quoting import not_understood
from src.settings.errors import did_you_mean
from src.settings.nodes import PhaseConfig


def message_of_settings(error: Exception, config_name: str) -> str:
    """In a line, with what is allowed; as they say it where nothing better is known."""
    text, cause = str(error), str(error.__cause__ or "")
    if missing := re.search(r"Could not (?:find|load) '([^']+)'", text):
        return missing_option_message(missing[1], text)
    if interval := re.search(r"'?(?:([^']*\binterval\(.*)' requires --multirun|support sweep type : INTERVAL)", text):
        return f"{interval[1] or 'interval(...)'} is for a search, which chooses values within: add -m sweep=search."
    if bare := re.search(r"Error parsing override '(.*)'", text):
        return not_understood(bare[1])
    if inner := re.search(r"Key '(.*)' not in 'PhaseConfig'\s+full_key: \1\n", cause):  # which phase, nobody says
        known = [one.name for one in dataclasses.fields(PhaseConfig)]
        near = did_you_mean(inner[1], known)
        return f"freeze.phases: {inner[1]} is no setting of a phase.{near} Its settings: {', '.join(known)}."
    if unknown := re.search(r"Could not (?:override|delete(?: from config)?)\W+'?~?([\w.@/-]+)", text):
        key = unknown[1].removesuffix(".")
        return group_message(key) if key in groups_of(config_name) else unknown_key_message(key, config_name)
    if wrong := wrong_kind(text, cause):
        return wrong
    if missing := re.search(r"Missing mandatory value: (\S+)", cause + text):
        return f"{missing[1]} is not set: give {missing[1]}=<value>."
    if missing := re.search(r"Interpolation (?:key|resolution) '?([^']*?)'? not found", cause + text):
        return f"${{{missing[1]}}} stands for no setting. Text that is meant as it is: '<key>=\"\\${{{missing[1]}}}\"'."
    if missing := re.search(r"Unsupported interpolation type (\S+)", cause + text):
        return f"${{{missing[1]}:...}} is no function that settings know."
    lines = [line for line in f"{text}\n{cause}".splitlines() if line.strip()]
    shown = [line for line in lines if "hydra.cc" not in line and "object_type" not in line and "    ^" not in line]
    return "\n".join(dict.fromkeys(shown))


def wrong_kind(text: str, cause: str) -> str | None:
    """For a value of another kind than its setting takes."""
    said = f"{cause}\n{text}"
    if wrong := re.search(
        r"Value '(.*)' (?:of type '\w+' could not be converted to (\w+)|is not a valid (bool) \(type \w+\))"
        r"(?:.|\n)*?full_key: (\S+)", cause + text,
    ):  # fmt: skip
        kind = wrong[2] or "Boolean"
        return f"{wrong[4]}='{wrong[1]}' is not {KIND_NAMES.get(kind, kind.lower())}."
    if wrong := re.search(r"(\w+) is not a subclass of \w+\.?\s+value: (.*)\s+full_key: (\S+)", said):
        return f"{wrong[3]}={wrong[2].strip()} is not understood: settings are expected there, such as {{key: value}}."
    if wrong := re.search(r"Cannot (?:assign|convert) '?(\w+)'? to (\w+)(?:.|\n)*?full_key: (\S+)", said):
        return f"{wrong[3]} takes {shape(wrong[2])}, and got {shape(wrong[1])}."
    if wrong := re.search(r"Cannot merge \w+ with \w+(?:.|\n)*?full_key: (\S+)\s+reference_type=(\w+)", said):
        return f"{wrong[1]} takes {shape(wrong[2])}."
    if wrong := re.search(r"is not a ListConfig, list or tuple\W+full_key: (\S+)", cause + text):
        return f"{wrong[1]} takes a list: {wrong[1]}=[a,b]."
    if wrong := re.search(r"field '(\S+)' is not Optional", cause + text):
        return f"{wrong[1]}=null is not allowed: it needs a value."
    return None


KIND_NAMES = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def shape(kind: str) -> str:
    """Of what OmegaConf and Python call a kind."""
    if kind.lower() in ("list", "listconfig"):
        return "a list, [a,b]"
    return "settings, {key: value}" if kind.lower() in ("dict", "dictconfig") else "one value"

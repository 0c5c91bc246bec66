"""What went wrong, in a few words: which errors are the user's to mend, and what is said of them. Imports no torch."""

import errno
import re
import sys
import traceback
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.cli.command_line import PATHS, is_group, not_understood
from src.settings.errors import ConfigError, RunStopped, did_you_mean
from src.settings.project import CONF_DIR, PROJECT_ROOT

GROUP_OVERRIDE = re.compile(r"^\+?([a-z_/]+)=([\w.-]+)$")
# What Python raises for mistakes of a program. Raised in our own code these are bugs of ours; anything else is about
# the settings, the data or the machine.
KINDS_OF_BUGS = (
    AssertionError, AttributeError, LookupError, NameError, NotImplementedError, RecursionError, TypeError,
    ZeroDivisionError,
)  # fmt: skip
SOURCES = (PROJECT_ROOT / "src", PROJECT_ROOT / "scripts")


def is_bug(error: BaseException) -> bool:
    """Whether our own code is at fault, so that a traceback helps more than a message."""
    known = isinstance(error, ConfigError | RunStopped | HydraException | OmegaConfBaseException)
    if known or not isinstance(error, KINDS_OF_BUGS):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and any(Path(frames[-1].filename).is_relative_to(source) for source in SOURCES)


def message_of(error: BaseException, config_name: str = "train") -> str:
    """One short text: what was refused, what is allowed, and the nearest right spelling."""
    if isinstance(error, ConfigError | RunStopped):
        return str(error)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return message_of_settings(error, config_name)
    if isinstance(error, OSError):
        return message_of_disk(error)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return f"Out of memory: {first_line(error)} A smaller data.batch_size or data.image_size_px needs less."
    for pattern, meaning in MEANINGS.items():
        if re.search(pattern, str(error)):
            return meaning
    frames = traceback.extract_tb(error.__traceback__)
    where = f" (raised in {package_of(frames[-1].filename)})" if frames else ""
    return f"{type(error).__name__}: {first_line(error)}{where}. HYDRA_FULL_ERROR=1 shows everything."


# What libraries say, and what it means here.
MEANINGS = {
    r"Config group override must be": "A group takes one of its options: <group>=<option>. --help lists them.",
    r"Expected more than 1 value per channel": (
        "A network with BatchNorm cannot train on batches of one image: raise data.batch_size (or lower "
        "trainer.devices, if these share a few images)."
    ),
}


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no reason was given"])[0].rstrip(".")


def package_of(file: str) -> str:
    """`torch` for a file of it; the file's name outside packages."""
    parts = Path(file).parts
    return parts[parts.index("site-packages") + 1] if "site-packages" in parts[:-1] else parts[-1]


def message_of_disk(error: OSError) -> str:
    """What is wrong with a file, with the setting that named it if there is one."""
    what, file = error.strerror or first_line(error), str(error.filename or "")
    given = (text.partition("=") for text in sys.argv[1:])
    named = [(key, value.strip("'\"")) for key, _, value in given if value.strip("'\"")]
    setting = next((pair for pair in named if file.startswith(pair[1]) and pair[0].lstrip("+") in PATHS), None)
    if setting is not None:
        where = f" ({file})" if file != setting[1] else ""
        return f"{setting[0]}='{setting[1]}' cannot be used: {what}{where}. Name another path, or make room for it."
    if error.errno in BAD_DISK:
        return f"{what}: {file or 'a file of the run'}. What was written before is unharmed."
    return f"{what}: {file}." if file else f"{type(error).__name__}: {what}."


BAD_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


def message_of_settings(error: Exception, config_name: str) -> str:
    """What Hydra and OmegaConf say, made shorter and clearer."""
    text, cause = str(error), str(error.__cause__ or "")
    if missing := re.search(r"Could not (?:find|load) '([^']+)'", text):
        return missing_option_message(missing[1], text)
    if bare := re.search(r"Error parsing override '(.*)'", text):
        return not_understood(bare[1])
    if unknown := re.search(r"Could not (?:override|delete(?: from config)?)\W+'?~?([\w.@/-]+)", text):
        key = unknown[1].removesuffix(".")
        if is_group(key):
            return group_message(key)
        return unknown_key_message(key, config_name)
    if wrong := re.search(
        r"Value '(.*)' (?:of type '\w+' could not be converted to (\w+)|is not a valid (bool) \(type \w+\))"
        r"(?:.|\n)*?full_key: (\S+)", cause + text,
    ):  # fmt: skip
        kind = wrong[2] or "Boolean"
        return f"{wrong[4]}='{wrong[1]}' is not {KIND_NAMES.get(kind, kind.lower())}."
    if wrong := re.search(r"(\w+) is not a subclass of \w+\.?\s+value: (.*)\s+full_key: (\S+)", f"{cause}\n{text}"):
        return f"{wrong[3]}={wrong[2].strip()} is not understood: settings are expected there, such as {{key: value}}."
    if wrong := re.search(r"field '(\S+)' is not Optional", cause + text):
        return f"{wrong[1]}=null is not allowed: it needs a value."
    if missing := re.search(r"Missing mandatory value: (\S+)", cause + text):
        return f"{missing[1]} is not set: give {missing[1]}=<value>."
    if missing := re.search(r"Interpolation (?:key|resolution) '?([^']*?)'? not found", cause + text):
        return f"${{{missing[1]}}} stands for no setting. Text that is meant as it is: '<key>=\"\\${{{missing[1]}}}\"'."
    if missing := re.search(r"Unsupported interpolation type (\S+)", cause + text):
        return f"${{{missing[1]}:...}} is no function that settings know."
    lines = [line for line in f"{text}\n{cause}".splitlines() if line.strip()]
    shown = [line for line in lines if "hydra.cc" not in line and "object_type" not in line and "    ^" not in line]
    return "\n".join(dict.fromkeys(shown))


KIND_NAMES = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


# ----------------------------------------------------------------------------------------------------- what there is


def missing_option_message(path: str, text: str) -> str:
    """For `group/option`, which does not exist."""
    parts = path.split("/")
    heads = ["/".join(parts[:n]) for n in range(len(parts) - 1, 0, -1) if parts[n - 1]]
    listed = re.search(r"Available options in '(\S+)':\n((?:\t\S+\n?)*)", text)
    name = listed[1] if listed else next((head for head in heads if is_group(head)), path.rpartition("/")[0])
    option, options = path.removeprefix(f"{name}/"), listed[2].split() if listed else options_of(name)
    return f"{name}='{option}' does not exist.{did_you_mean(option, options)} Options: {', '.join(options)}."


def is_group_choice(override: str) -> bool:
    match = GROUP_OVERRIDE.match(override)
    return match is not None and is_group(match[1])


def options_of(group: str) -> list[str]:
    """Names of a group's options: yaml files, and for backbone every network."""
    from hydra.core.config_store import ConfigStore

    files = [file.stem for file in (CONF_DIR / group).glob("*.yaml")]
    stored = ConfigStore.instance().repo.get(group, {})
    return sorted({*files, *(name.removesuffix(".yaml") for name in stored)})


def group_message(group: str) -> str:
    """For a group that got something other than one of its options."""
    return f"{group} takes one of its options, {group}=<option>. Options: {', '.join(options_of(group))}."


def yaml_values() -> dict[str, Any]:
    """What the yaml files say for the groups in which this command line changes values, to compare the kinds."""
    groups = {text.lstrip("+").split(".")[0] for text in HydraConfig.get().overrides.task if "." in text.split("=")[0]}
    choices = HydraConfig.get().runtime.choices
    return {group: read_option(group, str(choices[group])) for group in groups if group in choices}


def read_option(group: str, option: str) -> dict[str, Any]:
    """`conf/<group>/<option>.yaml` with the files that it builds on; empty for options without a file."""
    file = CONF_DIR / group / f"{option}.yaml"
    if not file.exists():
        return {}
    values = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(file)))
    parents = [name for name in values.pop("defaults", []) if isinstance(name, str) and name != "_self_"]
    return {**{key: value for parent in parents for key, value in read_option(group, parent).items()}, **values}


def defaults_of(config_name: str) -> DictConfig:
    """The settings with the groups chosen on the command line, but with no single value changed."""
    chosen = [text for text in sys.argv[1:] if is_group_choice(text)]
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return hydra.compose(config_name, overrides=chosen)


def chosen_option(group: str, config_name: str) -> str:
    """What the command line, or else the defaults list, takes from a group."""
    file = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(CONF_DIR / f"{config_name}.yaml")))
    listed = [item for item in file["defaults"] if isinstance(item, dict)]
    options = {name: str(option) for item in listed for name, option in item.items()}
    chosen = [match for text in sys.argv[1:] if (match := GROUP_OVERRIDE.match(text))]
    options |= {match[1]: match[2] for match in chosen}
    return options.get(group, "")


def unknown_key_message(key: str, config_name: str) -> str:
    *parents, last = key.split(".")
    settings: Any = {}
    choosing = ("task=", "experiment=", "debug=", "sweep=")  # they choose options of other groups too
    other_groups = any(text.lstrip("+").startswith(choosing) for text in sys.argv[1:])
    if len(parents) == 1 and is_group(parents[0]) and not other_groups:  # needs no second composing
        settings = OmegaConf.create({parents[0]: read_option(parents[0], chosen_option(parents[0], config_name))})
    if not settings.get("".join(parents)):
        try:
            settings = defaults_of(config_name)
        except Exception:
            return f"{key} is no setting of this command."
    seen = []
    for parent in parents:
        key_or_index = int(parent) if isinstance(settings, ListConfig) and parent.isdigit() else parent
        try:
            settings = settings[key_or_index]
        except (KeyError, IndexError, TypeError, OmegaConfBaseException):
            last = parent
            break
        seen.append(parent)
    prefix = "".join(f"{parent}." for parent in seen)
    choices = [str(name) for name in settings] if isinstance(settings, DictConfig) else []
    if f"~{key}" in sys.argv[1:] and not did_you_mean(last, set(choices) - {last}, prefix):
        there = ", ".join(choices) or "none"
        return f"~{key} takes away what is not there. The settings of {prefix.rstrip('.') or config_name}: {there}."
    near = did_you_mean(last, choices, prefix)
    where = f"settings of {'.'.join(seen)}" if seen else "settings and groups"
    target = settings.get("_target_") if isinstance(settings, DictConfig) else None
    more = f" +{prefix}{last}=<value> passes another argument to {target}." if target else ""
    if len(parents) == 1 and is_group(parents[0]):  # data.root, where data=digits was not changed to data=folder
        having = [option for option in options_of(parents[0]) if last in read_option(parents[0], option)]
        more = f" It is a setting of {parents[0]}={f', {parents[0]}='.join(having)}." if having else more
    return f"{prefix}{last} is no setting.{near} The {where}: {', '.join(choices)}.{more}"

"""What others need of a run, without paths of this machine: gathered in a folder, and put on a model hub.

Imports torch only to gather.
"""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from omegaconf import OmegaConf

from src.files.plain_files import read_json
from src.settings.errors import ConfigError
from src.settings.trust import plain_config

CARD = "report/model_card.md"
PRIVATE = re.compile(r"^(/|~|\.\.([/\\]|$)|[A-Za-z]:[\\/]|\\\\|file:)")


def require_publishable(run: Path, folder: Path, files: Sequence[Path]) -> None:
    """Raises ConfigError if something is missing, or leads out of the run, or if the folder is taken."""
    needed = [run / "checkpoints" / "best.ckpt", run / CARD, run / "metrics.json", *files]
    if missing := [path for path in needed if not path.is_file()]:
        raise ConfigError(
            f"'{missing[0]}' does not exist. A run that has ended has checkpoints/best.ckpt, {CARD} and metrics.json."
        )
    for path in needed[1:3]:  # of a run that is somebody else's
        if not path.resolve().is_relative_to(run.resolve()):
            raise ConfigError(f"'{path}' is a link that leads out of the run: nothing was published.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"output='{folder}' is there already and not empty: give another, or delete it.")


def gather(run: Path, folder: Path, files: Sequence[Path]) -> None:
    """best.ckpt without what only resuming needs, README.md, config.yaml, metrics.json, and `files`.

    Paths of this machine are cut to their last part.
    """
    import torch

    from src.runs.checkpoint import load_checkpoint
    from src.runs.record import CHECKPOINT_KEY

    checkpoint, _ = load_checkpoint(run / "checkpoints" / "best.ckpt")
    record = without_paths(checkpoint[CHECKPOINT_KEY])
    settings = OmegaConf.to_yaml(plain_config(record["config"]))
    metrics = without_paths(read_json(run / "metrics.json"))
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": checkpoint["state_dict"], CHECKPOINT_KEY: record}, folder / "best.ckpt")
    (folder / "config.yaml").write_text(settings, encoding="utf-8")
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.copyfile(run / CARD, folder / "README.md")
    for file in files:
        shutil.copyfile(file, folder / file.name)


def without_paths(values: Any) -> Any:
    """Nested plain data in which a path that leads out of the project, or into somebody's home, is its last part."""
    if isinstance(values, dict):
        return {without_paths(key): without_paths(value) for key, value in values.items()}
    if isinstance(values, list):
        return [without_paths(value) for value in values]
    if isinstance(values, str) and (PRIVATE.match(values) or str(Path.home()) + "/" in values):
        return PurePath(values.replace("\\", "/")).name
    return values


def require_hub() -> None:
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        raise ConfigError("repo= needs the extra hub: uv sync --extra hub, or pip install huggingface_hub.") from error


def upload(folder: Path, repo: str, public: bool) -> str:
    """To the hub that HF_ENDPOINT names, with the token of `hf auth login` or HF_TOKEN. Private unless `public`.

    Returns the address. Raises ConfigError if it does not succeed: the folder stays.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi()
    try:
        api.create_repo(repo, private=not public, exist_ok=True)
        done = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Fine-tuned model")
    except (HfHubHTTPError, LocalTokenNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"repo={repo}: the upload did not succeed ({reason}). Log in with `hf auth login` or set HF_TOKEN; the "
            f"folder is complete, and `hf upload {repo} {folder}` tries again."
        ) from error
    return str(done)

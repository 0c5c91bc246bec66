"""Gathers what others need of a run in a folder, and puts it on a model hub if one is named.

python -m src.publish ckpt=<run dir> output=<new folder> [files=[model.onnx]] [repo=owner/name] [public=true]
"""

import logging
import re
from pathlib import Path

from omegaconf import DictConfig

from src.cli.command import Command, importing
from src.cli.command_line import resumed_run_dir
from src.publishing.folder import gather, require_hub, require_publishable, upload
from src.settings.errors import ConfigError
from src.settings.plurals import number_of

log = logging.getLogger(__name__)


def publish(cfg: DictConfig) -> None:
    """Write the folder `output`; upload it if `repo` is given."""
    if cfg.repo is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", cfg.repo):
        raise ConfigError(f"repo='{cfg.repo}' is no repository: give owner/name.")

    run, folder = resumed_run_dir(Path(cfg.ckpt).expanduser()), Path(cfg.output).expanduser()
    files = [Path(file).expanduser() for file in cfg.files]
    require_publishable(run, folder, files)
    if cfg.repo is not None:
        require_hub()
    with importing():
        gather(run, folder, files)
    log.info("Written to %s: %s", folder, ", ".join(sorted(path.name for path in folder.iterdir())))
    if blanks := (folder / "README.md").read_text(encoding="utf-8").count("TO FILL IN"):
        places = number_of(blanks, "place")
        log.info("README.md has %s TO FILL IN: who may use the model for what, under which licence.", places)
    if cfg.repo is not None:
        log.info("Uploaded: %s", upload(folder, cfg.repo, cfg.public))


main = Command(publish, "publish").main

if __name__ == "__main__":
    main()

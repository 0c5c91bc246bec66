"""One job of a sweep that trains in several processes: python -m src.sweeps.job <config.yaml>. Not for typing."""

import sys
from pathlib import Path

from omegaconf import OmegaConf

from src.cli.command import fail_with
from src.cli.log import set_up_log
from src.cli.run_dir import held
from src.data.workers import lost_workers_told
from src.settings.train_schema import TrainConfig
from src.train import train


def main() -> None:
    """Every process gets the very same settings, whatever sweeper chose them."""
    cfg = OmegaConf.merge(OmegaConf.structured(TrainConfig), OmegaConf.load(Path(sys.argv[1])))
    try:
        with held(Path(cfg.output_dir), cfg.trust), lost_workers_told():
            set_up_log(Path(cfg.output_dir))
            train(cfg)  # type: ignore[arg-type]
    except Exception as error:
        fail_with(error, "train")


if __name__ == "__main__":
    main()

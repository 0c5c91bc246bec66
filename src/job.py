"""One job of a sweep that trains in several processes: python -m src.job <config.yaml>. Not for typing."""

import sys
from pathlib import Path

from omegaconf import OmegaConf

from src.cli import fail, is_mistake, set_up_log
from src.config import TrainConfig
from src.data.workers import lost_workers_told
from src.errors import RunStopped
from src.train import train


def main() -> None:
    """Every process gets the very same settings, whatever sweeper chose them."""
    cfg = OmegaConf.merge(OmegaConf.structured(TrainConfig), OmegaConf.load(Path(sys.argv[1])))
    set_up_log(Path(cfg.output_dir))
    try:
        with lost_workers_told():
            train(cfg)  # type: ignore[arg-type]
    except Exception as error:
        if not is_mistake(error):
            raise
        fail(str(error), error.status if isinstance(error, RunStopped) else 1)


if __name__ == "__main__":
    main()

"""The average of the best epochs' weights, which takes the place of the best epoch's where val allows it."""

import logging
from collections.abc import Callable

from lightning import Trainer

from src.evaluation.evidence import Evidence
from src.training.averaging import SoupCheckpoint, average_of
from src.training.best_weights import find_best, keep_weights, load_best, load_everywhere
from src.training.task import FineTuneTask

log = logging.getLogger(__name__)

Measurement = tuple[dict[str, float], Evidence]


def try_soup(
    best: Measurement, task: FineTuneTask, trainer: Trainer, measure_val: Callable[[], Measurement]
) -> Measurement:
    """Put the soup in the place of the best epoch, in `task` and in best.ckpt, unless val is worse with it.

    Returns metrics and evidence of val of the weights that stay: `best`, if there is nothing to average.
    """
    monitor = task.monitor
    soup = next((c for c in trainer.checkpoint_callbacks if isinstance(c, SoupCheckpoint)), None)
    kept = find_best(trainer, monitor)
    files = trainer.strategy.broadcast(soup.files() if soup is not None else [])
    if kept is None or len(files) < 2:
        return best
    load_everywhere(average_of(files) if trainer.is_global_zero else None, task, trainer)
    metrics, val = measure_val()
    mixed = trainer.strategy.lightning_module_state_dict()  # by all processes
    alone = best[0][monitor]
    better = metrics[monitor] >= alone if kept.mode == "max" else metrics[monitor] <= alone
    log.info(
        "Soup of the %d best epochs: %s %.4f, the best alone %.4f: %s.",
        len(files), monitor, metrics[monitor], alone, "kept" if better else "not kept",
    )  # fmt: skip
    if better:
        keep_weights(trainer, monitor, mixed)
    else:
        load_best(task, trainer)
        metrics, val = measure_val()
    return {**metrics, "soup_epochs": len(files) if better else 0}, val

"""Which pretrained network for these data: candidates are ranked by a linear probe on their frozen features.

python -m src.choose data=folder data.root=<dir> [backbones=[resnet50,convnext_tiny]] [budget_minutes=10] [task=...]
"""

import logging
import sys
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from src.cli.command import Command, importing
from src.evaluation.metric_facts import metric_name
from src.files.outputs import output_folder
from src.settings.errors import ConfigError
from src.settings.target_kinds import MOVE_WITH_PIXELS, TARGET_KINDS

if TYPE_CHECKING:
    from src.choosing.candidates import Candidate
    from src.choosing.ranking import Result
    from src.choosing.trial import Trials
    from src.choosing.untried import Untried

log = logging.getLogger(__name__)


def choose(cfg: DictConfig) -> None:
    """Rank the candidates; write choose.html, choose.csv and choose.json to the folder `output`."""
    from src.choosing.candidates import candidates_of

    require_whole_images(cfg.task.targets)
    candidates = candidates_of(cfg.backbones, cfg.preset, cfg.presets)
    output = output_folder(cfg.output, "output", ("choose.csv", "choose.json", "choose.html"), cfg.overwrite)

    with importing():
        from src.choosing.budget import Budget
        from src.choosing.output import show, write_all
        from src.choosing.probes import probe_class
        from src.choosing.ranking import ranked
        from src.choosing.settings import words_of_train
        from src.choosing.trial import Trials

    metric = metric_name(cfg.task.monitor)
    probe, words = probe_class(cfg.task.targets, metric), words_of_train(sys.argv[1:])
    budget = Budget(cfg.budget_minutes)
    trials = Trials(words, output / "candidates", probe, budget, candidates)
    results, untried = try_all(candidates, trials)
    if not results:
        lines = (f"  {one.name}: {one.status}: {one.reason}" for one in untried)
        raise ConfigError("\n".join(["No candidate could be ranked:", *lines]))
    table = trials.table
    ranking = ranked(results, probe, metric, cfg.task.mode == "max", table.labels, table.groups_N)
    write_all(output, ranking, untried, words, trials.device, cfg.spreadsheet_safe)
    show(ranking, untried, words, trials.device)
    log.info("Everything is in %s", output / "choose.html")


def require_whole_images(targets: str) -> None:
    """Raise ConfigError for targets of which a probe of whole images says nothing."""
    if targets in MOVE_WITH_PIXELS:
        able = " or ".join(facts.words for kind, facts in TARGET_KINDS.items() if kind not in MOVE_WITH_PIXELS)
        raise ConfigError(
            f"src.choose ranks networks for {able} per image, and not for {TARGET_KINDS[targets].words}: whether a "
            "probe on features of boxes or pixels predicts what training makes of them has not been shown. Train "
            "two or three for a few epochs instead (-m backbone=<one>,<other>), and see src.compare."
        )


def try_all(candidates: "list[Candidate]", trials: "Trials") -> "tuple[list[Result], list[Untried]]":
    """What was found, and the others with the reason."""
    from src.choosing.budget import DoesNotFit
    from src.choosing.untried import Untried
    from src.choosing.words import not_tried

    results, untried = list["Result"](), list["Untried"]()
    for number, candidate in enumerate(candidates, start=1):
        log.info("%d of %d: %s", number, len(candidates), candidate.text)
        try:
            results.append(trials.of(candidate))
        except DoesNotFit as error:
            untried.append(not_tried(candidate, error))
        except ConfigError as error:
            untried.append(Untried(candidate.text, "left out", str(error)))
        if untried and untried[-1].name == candidate.text:
            log.warning("%s: %s: %s", *vars(untried[-1]).values())
    return results, untried


main = Command(choose, "choose").main

if __name__ == "__main__":
    main()

"""Whether the phases of a freeze plan fit into the epochs that there are. Imports no torch."""

from src.settings.nodes import PhaseConfig


def phase_problems(phases: list[PhaseConfig], max_epochs: int | None) -> list[str]:
    if not phases:
        return ["freeze.phases is empty: name at least one phase, e.g. [{train: all}]."]
    if max_epochs is None:
        return []
    given = sum(phase.epochs or 0 for phase in phases)
    open_phases = sum(phase.epochs is None for phase in phases)
    if open_phases and given + open_phases > max_epochs:
        return [
            f"trainer.max_epochs={max_epochs} is too short for the freeze plan's {len(phases)} phases, which need at "
            f"least {given + open_phases} epochs: raise it, or lower freeze.phases.<n>.epochs."
        ]
    if not open_phases and given != max_epochs:
        return [
            f"The epochs of freeze.phases add up to {given}, but trainer.max_epochs={max_epochs}: set "
            f"trainer.max_epochs={given}, or leave one phase's epochs null."
        ]
    return []

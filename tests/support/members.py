"""Checkpoints that differ a little, without training each."""

from pathlib import Path
from typing import Any

import torch

from src.runs.checkpoint import load_checkpoint


def changed_checkpoint(source: Path, to: Path, seed: int, order: list[int] | None = None, **record: Any) -> Path:
    """A copy with noise of this seed on the head's weights, and with other entries of its record.

    `order`: of the classes, which the head then has in this order too.
    """
    checkpoint, _ = load_checkpoint(source)
    generator = torch.Generator().manual_seed(seed)
    weights, facts = checkpoint["state_dict"], checkpoint["finetune"]
    for name in [name for name in weights if ".classifier." in name]:
        weights[name] = weights[name] + 0.3 * torch.randn(weights[name].shape, generator=generator)
        weights[name] = weights[name] if order is None else weights[name][order]
    if order is not None:
        facts["class_names"] = [facts["class_names"][k] for k in order]
    facts |= record
    to.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, to)
    return to

"""Everything that is wrong with a data set, from the facts about its images."""

import numpy as np

from src.data.checking.classes import target_findings
from src.data.checking.copies import copies
from src.data.checking.kinds import KINDS, Finding
from src.data.checking.look import Facts
from src.data.table import ImageTable


def find_all(table: ImageTable, facts: Facts, tiny_px: int, near_bits: int | None) -> list[Finding]:
    """Everything in KINDS, in its order, then by row."""
    found = target_findings(table, facts) + copies(table, facts, near_bits, tiny_px)
    found += [Finding(problem, row, detail=reason) for row, (problem, reason) in facts.problems.items()]
    found += [Finding("wrong_extension", row, detail=f"it is a {kind}") for row, kind in facts.wrong_suffix.items()]
    for place in np.flatnonzero(np.minimum(facts.width_R, facts.height_R) < tiny_px):
        size = f"{facts.width_R[place]} x {facts.height_R[place]} pixels"
        found.append(Finding("tiny", int(facts.rows[place]), detail=size))
    order = list(KINDS)
    return sorted(found, key=lambda finding: (order.index(finding.kind), -1 if finding.row is None else finding.row))

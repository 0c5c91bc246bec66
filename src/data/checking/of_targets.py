"""The check that goes with each kind of targets. A kind that has more to say than its classes gets a line here."""

from src.data.boxes import Boxes
from src.data.checking.box_check import BoxCheck
from src.data.checking.mask_check import MaskCheck
from src.data.checking.target_check import TargetCheck
from src.data.masks import Masks
from src.data.targets import Targets

CHECKS: dict[type[Targets], TargetCheck] = {Boxes: BoxCheck(), Masks: MaskCheck()}  # and of what is made of these


def check_of(targets: Targets) -> TargetCheck:
    return next((CHECKS[kind] for kind in type(targets).__mro__ if kind in CHECKS), TargetCheck())

"""Which views of an image a model sees, and whether they are right for it."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from src.build.trained_model import TrainedModel
from src.models.adapted import AdaptedNetwork
from src.models.preprocessing import Preprocessing
from src.models.views import Chain, Mirrored, Smaller, View
from src.runs.record import RunRecord
from src.settings.errors import ConfigError, first_line

LARGER = 1.25  # of the side that the network was evaluated at: the other scale of tta=scales


def views_of(tta: str | None, usual: Preprocessing, loaded: Preprocessing) -> list[View]:
    """Of images as `loaded`: as they are `usual`, enlarged, and both mirrored, as far as `tta` says so."""
    views = [View()]
    if tta in ("scales", "mirror_scales"):
        views = [Smaller(loaded.crop_px, usual.crop_px), View()]
    if tta in ("mirror", "mirror_scales"):
        views += [Chain(view, Mirrored()) for view in views]
    return views


def loaded_for(tta: str | None, record: RunRecord) -> RunRecord:
    """With images loaded as large as the largest view needs them."""
    if tta not in ("scales", "mirror_scales"):
        return record
    usual = record.preprocessing
    larger = replace(usual, resize_px=round(LARGER * usual.resize_px), crop_px=round(LARGER * usual.crop_px))
    # What the checkpoint's settings say of sizes is in its preprocessing already.
    data = {**record.config["data"], "image_size_px": None, "resize_px": None, "resize_mode": None}
    return replace(record, preprocessing=larger, config={**record.config, "data": data})


def require_views(tta: str | None, members: Sequence[TrainedModel]) -> None:
    """Raise ConfigError for views in which an image no longer shows what it showed, or that a network cannot see."""
    for member in members if tta is not None else ():
        if "mirror" in str(tta) and member.record.setting("data.mirror_safe") is False:
            raise ConfigError(
                f"tta={tta}: '{member.file}' was trained with data.mirror_safe=false, since a mirrored image of its "
                "data shows something else: leave mirroring out."
            )
        if "scales" in str(tta):
            if member.preprocessing.keeps_shape:
                raise ConfigError(
                    f"tta={tta}: scales are for models with one answer for an image; those that answer for its places "
                    "take it in its own shape. tta=mirror is for models of pixels too."
                )
            require_any_size(member.task.model, loaded_for(tta, member.record).preprocessing.crop_px, member, str(tta))


def require_any_size(network: AdaptedNetwork, side_px: int, member: TrainedModel, tta: str) -> None:
    """Raise ConfigError if it was made for images of one size, as most transformers are."""
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 3, side_px, side_px, dtype=torch.uint8, device=member.device))
    except Exception as error:  # networks raise many kinds
        raise ConfigError(
            f"tta={tta}: {member.record.backbone_name} cannot see images of {side_px} px ({first_line(error)[:200]}): "
            "leave scales out."
        ) from error

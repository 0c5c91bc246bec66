"""Several detectors, or several views through one, as one. Shapes: B images, D rows for the boxes of each."""

from typing import cast

import torch
from torch import Tensor

from src.models.combined import CombinedNetwork
from src.models.detector import BoxTargets, DetectorNetwork, Images


class CombinedDetector(CombinedNetwork):
    """What evaluating and predicting need of a DetectorNetwork; the views are the image as it is, and others."""

    @property
    def members(self) -> list[DetectorNetwork]:
        return cast(list[DetectorNetwork], list(self.net))

    @property
    def max_detections(self) -> int:
        return self.members[0].max_detections

    def forward(self, images: Images) -> Tensor:
        """Outputs [B, D, 6], with boxes as shares of the images' sides."""
        return self.together([member(images) for member in self.members], images)

    def together(self, outputs: list[Tensor], images: Images) -> Tensor:
        """With those of the images as they are, and of their other views."""
        for view in list(self.views)[1:]:
            seen = view(images) if isinstance(images, Tensor) else [view(image) for image in images]
            found = [member(seen) for member in self.members]
            outputs = outputs + ([self.combine.unmirrored(one) for one in found] if view.mirrored else found)
        return self.combine(outputs)

    def losses_and_outputs(self, images: Images, targets: BoxTargets) -> tuple[dict[str, Tensor], Tensor]:
        """The loss is the mean of the members'."""
        both = [
            member.losses_and_outputs(images, self.own_targets(m, targets)) for m, member in enumerate(self.members)
        ]
        losses = torch.stack([torch.stack(list(parts.values())).sum() for parts, _ in both])
        return {"loss": losses.mean()}, self.together([outputs for _, outputs in both], images)

    def finite_images(self, images: Images, targets: BoxTargets) -> Tensor:
        """Of which all members' losses are finite, bool [B]."""
        found = [member.finite_images(images, self.own_targets(m, targets)) for m, member in enumerate(self.members)]
        return torch.stack(found).all(dim=0)

    def own_targets(self, m: int, targets: BoxTargets) -> BoxTargets:
        """With class ids as this member counts them."""
        return [{**target, "labels": self.combine.own_labels(m, target["labels"])} for target in targets]

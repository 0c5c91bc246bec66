"""Small detectors, and images with boxes for them."""

import torch
from torch import Tensor

from src.models.detection_heads import DetectionHeadFactory
from src.models.detector import DetectorNetwork
from src.models.torchvision_detectors import own_head
from src.models.weights import build_backbone, preprocessing_of


def detector(
    name: str, head: DetectionHeadFactory = own_head, num_classes: int = 3, max_detections: int = 20
) -> DetectorNetwork:
    """For images of about 128 pixels, with random weights."""
    new = head(build_backbone(name, None, 128), name, 128, num_classes)
    return DetectorNetwork(new, preprocessing_of(name, None), channels_last=False, max_detections=max_detections)


def images_and_targets() -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Three images of different sizes: with two boxes, with none, with one that fills the image."""
    noise = torch.Generator().manual_seed(0)
    sizes = ((96, 128), (80, 100), (64, 64))
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=noise) for size in sizes]
    boxes = [[[5.0, 5, 50, 60], [30, 20, 70, 75]], [], [[0.0, 0, 64, 64]]]
    classes: list[list[int]] = [[0, 2], [], [1]]
    targets = [
        {"boxes": torch.tensor(one).reshape(-1, 4), "labels": torch.tensor(ids, dtype=torch.int64)}
        for one, ids in zip(boxes, classes, strict=True)
    ]
    return images, targets

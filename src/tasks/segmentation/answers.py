"""What a segmenter says of a batch, in small: what metrics, calibration and report are made of.

Shapes: B images, K classes, P pixels of an image that are looked at closely, H and W pixels of a file.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from src.data.samplers import mixed_seed
from src.evaluation.pixels.confusion import VOID
from src.models.segmenter import classes_at

LOGITS_OF_IMAGE = 16384  # that are kept of it: 256 pixels of 64 classes
PIXELS = (16, 256)  # fewest and most


def confusion_of(truth_HW: Tensor, found_HW: Tensor, classes: int) -> Tensor:
    """Pixels by true class (rows) and found class, int64 [K, K], without void ones."""
    known = truth_HW != VOID
    pairs = truth_HW[known].long() * classes + found_HW[known].long()
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def pairs_of(confusion_KK: Tensor) -> Tensor:
    """Of a confusion that is not 0, int32 [M, 2], see src/evaluation/pixels/pairs.py."""
    counts = confusion_KK.flatten()
    codes_M = counts.nonzero()[:, 0]
    return torch.stack([codes_M, counts[codes_M]], dim=1).int()


def sampled_pixels(logits_Khw: Tensor, truth_HW: Tensor, row: int) -> tuple[Tensor, Tensor]:
    """Logits float32 [P, K] and true classes uint8 [P] of some pixels: always the same of the image in this row."""
    classes, (height, width) = len(logits_Khw), truth_HW.shape
    number = min(max(LOGITS_OF_IMAGE // classes, PIXELS[0]), PIXELS[1])
    generator = torch.Generator().manual_seed(mixed_seed(row))
    places_P2 = torch.rand(number, 2, generator=generator).to(logits_Khw.device)
    ys, xs = (places_P2[:, 0] * height).long(), (places_P2[:, 1] * width).long()
    # As enlarging does it: the middle of each pixel, in shares of the image.
    middles = torch.stack([(xs + 0.5) / width, (ys + 0.5) / height], dim=1) * 2 - 1
    grid = middles.view(1, 1, number, 2).to(logits_Khw.dtype)
    values = torch.nn.functional.grid_sample(
        logits_Khw[None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return values[0, :, 0].T, truth_HW[ys, xs]


def evidence_of(logits: Sequence[Tensor], masks: Sequence[Tensor], rows: Sequence[int]) -> dict[str, Tensor]:
    """`pairs` int32 [B, M, 2] of all pixels (src/evaluation/pixels/pairs.py), `logits` float16 [B, P, K] and `truth`
    uint8 [B, P] of some.
    """
    pairs, some, truths = [], [], []
    for logits_Khw, mask_HW, row in zip(logits, masks, rows, strict=True):
        found_HW = classes_at(logits_Khw, mask_HW.shape)
        pairs.append(pairs_of(confusion_of(mask_HW, found_HW, len(logits_Khw))))
        values_PK, truth_P = sampled_pixels(logits_Khw, mask_HW, row)
        some.append(values_PK - values_PK.amax(dim=1, keepdim=True))  # so that 16 bits do
        truths.append(truth_P)
    logits_BPK = torch.stack(some).half()  # autocast on the CPU stacks none of 16 bits
    return {"pairs": pad_sequence(pairs, batch_first=True), "logits": logits_BPK, "truth": torch.stack(truths)}

"""The graph of an exported file: from decoded images of any size to the answers, in plain tensor operations.

Shapes: B images, C channels, H and W pixels, S pixels of the network's square input, K outputs of the network.
"""

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from src.models.preprocessing import Preprocessing
from src.settings.errors import ConfigError, first_line
from src.training.scores_task import ScoresTask

PILLOW_STEP = 2.0**-22  # Pillow rounds the weights of its filters to this


class ExportedModel(nn.Module):
    """Everything that src.predict does to decoded images.

    Takes RGB images uint8 [B, 3, H, W] of any size, all of one size, and returns what the task's output layer gives,
    in the order of `output_names`.

    Args:
        task: in eval mode, on the CPU.
        preprocessing: sizes and interpolation.
        half: compute the network in float16; what comes before and after it stays in float32.
    """

    def __init__(self, task: ScoresTask, preprocessing: Preprocessing, half: bool = False) -> None:
        super().__init__()
        self.resize = PillowResize(preprocessing)
        self.network = copy.deepcopy(task.model).to(memory_format=torch.contiguous_format)
        self.network.memory_format = torch.contiguous_format
        self.dtype = torch.float16 if half else torch.float32
        self.network.net.to(self.dtype)
        self.outputs = copy.deepcopy(task.output_layer())
        self.output_names = list(task.prediction.output_shapes(task.class_names))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        pixels_BCSS = self.resize(images)
        outputs = self.outputs(self.network.net(self.network.normalise(pixels_BCSS).to(self.dtype)).float())
        return tuple(outputs[name] for name in self.output_names)


class PillowResize(nn.Module):
    """The `crop_px` square that the network sees of an image of any size: the pixels of `evaluation_transform`.

    That one resizes with Pillow, and every runtime's own Resize differs from it. Pillow's resampling is linear in the
    pixels of a row, so it is a product with a matrix of weights; only the rows and columns that the crop keeps are
    computed. As in Pillow the filter is widened by the scale, edges are renormalised, weights are rounded to 22 bits,
    and values to whole numbers after each of the two passes (src/libImaging/Resample.c). In float64, where such sums
    are exact: many scales put whole rows of values on a half, and float32 would round these otherwise than Pillow.
    Since Pillow 13 tall images are resized along their columns first (python-pillow/Pillow#9549); the rule was found
    by trying sizes.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.mode, self.resize_px, self.crop_px = (
            preprocessing.resize_mode, preprocessing.resize_px, preprocessing.crop_px,
        )  # fmt: skip
        self.padding_color = preprocessing.padding_color
        self.filter = {"bilinear": triangle, "bicubic": cubic}[preprocessing.interpolation]

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Whole numbers 0..255, float32 [B, 3, S, S], of images uint8 [B, 3, H, W]."""
        height, width = images_BCHW.shape[2:]
        # As tensors, since comparing the sizes themselves would make the exported graph one for some sizes only.
        height_1, width_1 = torch.full((1,), height), torch.full((1,), width)
        new_height_1, new_width_1 = self.new_sizes(height_1, width_1)
        columns_SW = self.weights(torch.arange(width), width_1, new_width_1)
        rows_SH = self.weights(torch.arange(height), height_1, new_height_1)
        pixels_BCHW = images_BCHW.double()
        rows_first_BCSS = to_whole(rows_SH @ to_whole(pixels_BCHW @ columns_SW.T))
        columns_first_BCSS = to_whole(to_whole(rows_SH @ pixels_BCHW) @ columns_SW.T)
        shrinks_1 = new_height_1 < height_1
        tall_1 = shrinks_1 & (height_1 - new_height_1 > 2 * (width_1 - new_width_1))
        resized_BCSS = torch.where(tall_1, columns_first_BCSS, rows_first_BCSS)
        if self.mode == "fit":
            inside_SS = self.inside(new_height_1)[:, None] & self.inside(new_width_1)
            color_311 = torch.tensor(self.padding_color, dtype=torch.float64).view(3, 1, 1)
            resized_BCSS = torch.where(inside_SS, resized_BCSS, color_311)
        return resized_BCSS.float()

    def new_sizes(self, height_1: Tensor, width_1: Tensor) -> tuple[Tensor, Tensor]:
        """Height and width of the whole image once it is scaled."""
        if self.mode == "stretch":
            side_1 = torch.full((1,), self.crop_px)
            return side_1, side_1
        if self.mode == "fit":
            longer_1 = torch.maximum(height_1, width_1)
            return (self.crop_px * height_1 // longer_1).clamp(min=1), (self.crop_px * width_1 // longer_1).clamp(min=1)
        shorter_1 = torch.minimum(height_1, width_1)
        return self.resize_px * height_1 // shorter_1, self.resize_px * width_1 // shorter_1

    def kept(self, new_size_1: Tensor) -> Tensor:
        """Which pixels of a scaled side the square shows, [S]; those of the padding are below 0 or beyond its end."""
        margin_1 = new_size_1 - self.crop_px
        # Python's round(margin / 2), which takes halves to the even number.
        return torch.arange(self.crop_px) + margin_1 // 2 + (margin_1 % 2) * ((margin_1 // 2) % 2)

    def inside(self, new_size_1: Tensor) -> Tensor:
        kept_S = self.kept(new_size_1)
        return (kept_S >= 0) & (kept_S < new_size_1)

    def weights(self, positions_I: Tensor, size_1: Tensor, new_size_1: Tensor) -> Tensor:
        """float64 [S, I]: the share of each of the I old pixels in each new pixel that the square shows.

        The distance of two pixels' centres, in units of the widened filter, is a fraction of whole numbers.
        """
        kept_S = self.kept(new_size_1)
        if self.mode == "fit":  # something finite for the padding, which is painted over
            kept_S = torch.minimum(kept_S.clamp(min=0), new_size_1 - 1)
        numerator_SI = (2 * positions_I + 1) * new_size_1 - ((2 * kept_S + 1) * size_1)[:, None]
        shares_SI = self.filter(numerator_SI.double() / (2 * torch.maximum(size_1, new_size_1)).double())
        shares_SI = shares_SI / shares_SI.sum(dim=1, keepdim=True)
        return torch.floor(shares_SI / PILLOW_STEP + 0.5) * PILLOW_STEP


def triangle(distance: Tensor) -> Tensor:
    return (1.0 - distance.abs()).clamp(min=0.0)


def cubic(distance: Tensor) -> Tensor:
    """Keys 1981 with a = -0.5, as in Pillow."""
    d = distance.abs().clamp(max=2.0)
    near, far = (1.5 * d - 2.5) * d * d + 1.0, ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return torch.where(d < 1.0, near, far)


def to_whole(values: Tensor) -> Tensor:
    """Rounded half up, 0..255."""
    return torch.floor(values + 0.5).clamp(0.0, 255.0)


def trace(model: ExportedModel, backbone: str) -> ExportedProgram:
    """The graph, for any number of images of any size. Raises ConfigError if torch cannot find it."""
    # Sizes that are equal to each other or to the network's would not be told apart from a rule.
    example = torch.zeros(2, 3, 61, 83, dtype=torch.uint8)
    sizes = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    try:
        with quiet(), torch.no_grad():
            return torch.export.export(model.eval(), (example,), dynamic_shapes=(sizes,))
    except Exception as error:  # of torch.export's many kinds, all of which mean this
        raise cannot_export(backbone, "torch.export", error) from error


def write_onnx(program: ExportedProgram, output_names: list[str], backbone: str, file: Path) -> None:
    """Raises ConfigError if an operation has no counterpart in ONNX, or if the weights are too large for one file."""
    from onnx import save

    size = sum(value.numel() * value.element_size() for value in program.state_dict.values())
    if size >= ONNX_LIMIT:
        raise ConfigError(
            f"format=onnx: the weights of {backbone} take {size / 2**30:.1f} GiB, and one .onnx file holds less than "
            "2 GiB: use format=torch, or variants=[fp16] of a smaller network."
        )
    try:
        with quiet():
            exported = torch.onnx.export(
                program, dynamo=True, input_names=["images"], output_names=output_names, verbose=False
            )
    except Exception as error:
        raise cannot_export(backbone, "torch.onnx", error) from error
    assert exported is not None
    proto = exported.model_proto
    name_sizes(proto)
    save(proto, str(file))


ONNX_LIMIT = 2**31 - 2**20  # protobuf's limit of a message, less what is no weight


def name_sizes(proto: Any) -> None:
    """torch calls the free sizes s34 and the like: they become N, H and W where they are the input's."""
    (images,) = proto.graph.input
    names = {d.dim_param: new for d, new in zip(images.type.tensor_type.shape.dim, "NCHW", strict=True) if d.dim_param}
    for value in [*proto.graph.input, *proto.graph.output, *proto.graph.value_info]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.dim_param = names[dim.dim_param]


def write_program(program: ExportedProgram, facts: dict[str, Any], file: Path) -> None:
    """A .pt2 file, whose extra file finetune.json holds the facts."""
    with quiet():
        torch.export.save(program, file, extra_files={"finetune.json": json.dumps(facts)})


def cannot_export(backbone: str, tool: str, error: Exception) -> ConfigError:
    reason = first_line(error)[:300]
    return ConfigError(f"{backbone} cannot be exported: {tool} of torch {torch.__version__} says: {reason}")


@contextmanager
def quiet() -> Iterator[None]:
    """torch.export and torch.onnx warn about their own parts."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)

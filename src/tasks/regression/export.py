"""The last layer of a model for numbers: from standard deviations to the units of the labels."""

from torch import Tensor

from src.evaluation.prediction import Floats, Outputs
from src.training.output_layer import OutputLayer


class RegressionOutputs(OutputLayer):
    """`values` float32 [B, T] in the units of the labels, from outputs [B, T] in standard deviations.

    Args:
        mean_T: of the training labels.
        std_T: of the training labels; the unit in which an exported file's numbers are compared.
    """

    output_names = ("values",)
    unit_text = "standard deviations of the labels"
    mean_T: Tensor
    std_T: Tensor

    def __init__(self, class_names: list[str], mean_T: Tensor, std_T: Tensor) -> None:
        super().__init__()
        self.class_names = class_names
        self.register_buffer("mean_T", mean_T)
        self.register_buffer("std_T", std_T)

    def forward(self, outputs_BT: Tensor) -> dict[str, Tensor]:
        return {"values": outputs_BT.float() * self.std_T + self.mean_T}

    def undo(self, outputs: Outputs) -> Tensor:
        values_NT = self.mean_T.new_tensor(outputs["values"])
        return (values_NT - self.mean_T) / self.std_T

    @property
    def unit(self) -> Floats:
        unit_T: Floats = self.std_T.cpu().numpy()
        return unit_T

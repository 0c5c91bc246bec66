"""The last layer of a model for numbers: from standard deviations to the units of the labels."""

from torch import Tensor

from src.evaluation.prediction import Outputs
from src.training.output_layer import OutputLayer


class RegressionOutputs(OutputLayer):
    """`values` float32 [B, T] in the units of the labels, from outputs [B, T] in standard deviations.

    `mean_T` and `std_T` are of the training labels.
    """

    unit_text = "standard deviations of the labels"
    mean_T: Tensor
    std_T: Tensor

    def __init__(self, class_names: list[str], mean_T: Tensor, std_T: Tensor) -> None:
        super().__init__(class_names)
        self.register_buffer("mean_T", mean_T)
        self.register_buffer("std_T", std_T)
        self.unit = std_T.cpu().numpy()

    def forward(self, outputs_BT: Tensor) -> dict[str, Tensor]:
        return {"values": outputs_BT.float() * self.std_T + self.mean_T}

    def undo(self, outputs: Outputs) -> Tensor:
        return (self.mean_T.new_tensor(outputs["values"]) - self.mean_T) / self.std_T

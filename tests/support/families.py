"""One backbone of each family of torchvision's, with a new head."""

from collections.abc import Callable

from src.models.classifier import ImageClassifier
from src.models.heads import linear_head
from src.models.weights import build_backbone, preprocessing_of

# One member of each family, and an image size that it takes quickly.
FAMILIES = {
    "alexnet": 64, "convnext_tiny": 32, "densenet121": 32, "efficientnet_b0": 32, "efficientnet_v2_s": 33,
    "googlenet": 32, "inception_v3": 75, "maxvit_t": 224, "mnasnet0_5": 32, "mobilenet_v2": 32,
    "mobilenet_v3_small": 32, "regnet_x_400mf": 32, "regnet_y_400mf": 32, "resnet18": 32, "resnext50_32x4d": 32,
    "shufflenet_v2_x0_5": 32, "squeezenet1_1": 32, "swin_t": 32, "swin_v2_t": 32, "vgg11_bn": 32, "vit_b_32": 64,
}  # fmt: skip


def classifier(name: str, size: int | None = None, classes: int = 7, head: Callable = linear_head) -> ImageClassifier:
    preprocessing = preprocessing_of(name, None).with_size(size, None)
    net = build_backbone(name, None, preprocessing.crop_px)
    model = ImageClassifier(net, preprocessing, channels_last=True)
    model.reset_classifier(classes, head)
    return model

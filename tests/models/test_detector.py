from functools import partial

import pytest
import torch
from support.detectors import detector, images_and_targets
from support.slow import slow
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from src.models.detection_heads import DetectionHeadFactory, faster_rcnn, fcos, retinanet
from src.models.detector import DetectorNetwork
from src.models.freeze import set_trainable, trained_modules
from src.models.torchvision_detectors import own_head
from src.tasks.detection.network import loss_names
from src.training.phases import ParameterGroups

# With random weights, constant norms would let the signal die away.
untrained = partial(own_head, norms="train")

FAMILIES = [
    ("squeezenet1_1", fcos),
    ("squeezenet1_1", retinanet),
    ("squeezenet1_1", faster_rcnn),
    ("ssdlite320_mobilenet_v3_large", untrained),
    slow("fasterrcnn_mobilenet_v3_large_320_fpn", untrained),
    slow("fasterrcnn_resnet50_fpn_v2", untrained),
    slow("fcos_resnet50_fpn", untrained),
    slow("retinanet_resnet50_fpn_v2", untrained),
    slow("ssd300_vgg16", untrained),
    slow("resnet18", fcos),
    slow("swin_t", fcos),
]
SOME = [*FAMILIES[:3], slow("ssdlite320_mobilenet_v3_large", untrained)]


@pytest.mark.parametrize(("name", "head"), FAMILIES)
def test_every_family_trains_a_step(name: str, head: DetectionHeadFactory) -> None:
    """With ragged, empty and full targets; and once with no box at all, as a process of several may see."""
    torch.manual_seed(0)
    model = detector(name, head).train()
    images, targets = images_and_targets()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    for batch in (targets, [targets[1]] * 3):
        optimizer.zero_grad()
        losses = model.losses(images, batch)
        assert all(loss.isfinite() for loss in losses.values()) and set(losses) == set(loss_names(model.net))
        sum(losses.values(), torch.zeros(())).backward()
        assert not [key for key, parameter in model.named_parameters() if parameter.grad is None]
        optimizer.step()
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    moved = [key for key, parameter in model.named_parameters() if not torch.equal(parameter, before[key])]
    assert any(model.in_head(key.removeprefix("net.")) for key in moved) and len(moved) > len(before) / 2


@pytest.mark.parametrize(("name", "head"), FAMILIES)
def test_validation_gives_losses_and_outputs_and_moves_nothing(name: str, head: DetectionHeadFactory) -> None:
    torch.manual_seed(0)
    model = detector(name, head).eval()
    images, targets = images_and_targets()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    passes: list[int] = []
    model.net.backbone.register_forward_hook(lambda *_: passes.append(1))
    body = next(iter(model.net.backbone.children()))
    computed: list[int] = []
    body.register_forward_hook(lambda *_: computed.append(1))
    losses, outputs = model.losses_and_outputs(images, targets)
    assert len(passes) == 2 and len(computed) <= 1, "the backbone computed twice"
    torch.rand(3)
    again, outputs_again = model.losses_and_outputs(images, targets)
    assert losses.keys() == again.keys() and all(torch.equal(losses[key], again[key]) for key in losses)
    assert torch.equal(outputs, outputs_again) and torch.equal(outputs, model(images))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    torch.set_rng_state(generator)
    model.losses_and_outputs(images, targets)
    assert torch.equal(generator, torch.get_rng_state())
    assert not model.training and not any(module.training for module in model.modules())


def _check_format(outputs: Tensor, num_classes: int) -> None:
    boxes, scores, ids = outputs[..., :4], outputs[..., 4], outputs[..., 5]
    assert outputs.dtype == torch.float32
    assert torch.equal(scores, scores.sort(dim=1, descending=True).values)
    found = ids >= 0
    assert found.any() and (scores[found] >= 0.05).all() and ids[found].max() < num_classes
    assert torch.equal(outputs[~found], torch.tensor([0.0, 0, 0, 0, 0, -1]).expand((~found).sum(), 6))
    assert boxes.min() >= 0 and boxes.max() <= 1 and (boxes[..., 2:] >= boxes[..., :2]).all()


@pytest.mark.parametrize(("name", "head"), SOME)
def test_outputs_are_sorted_shares_with_ids_without_background(name: str, head: DetectionHeadFactory) -> None:
    torch.manual_seed(0)
    model = detector(name, head, max_detections=100).eval()
    for layer in model.affine_layers:  # of random weights all scores are low
        if layer.bias is not None and head is retinanet:
            nn.init.constant_(layer.bias, -1.0)
    images, _ = images_and_targets()
    outputs = model(images)
    assert outputs.shape == (3, 100, 6)
    _check_format(outputs, 3)


def test_boxes_are_shares_of_the_image_without_its_padding() -> None:
    model = detector("squeezenet1_1", fcos).eval()
    found = [{"boxes": torch.tensor([[10.0, 20, 50, 40]]), "scores": torch.tensor([0.9]), "labels": torch.tensor([3])}]
    packed = model._packed([torch.zeros(3, 80, 100, dtype=torch.uint8)], found)
    torch.testing.assert_close(packed[0, 0], torch.tensor([0.1, 0.25, 0.5, 0.5, 0.9, 2.0]))
    assert packed[0, 1].tolist() == [0, 0, 0, 0, 0, -1]


def test_class_0_is_learnt_as_class_0() -> None:
    """The network's own background class must not swallow the first class."""
    torch.manual_seed(0)
    model = detector("squeezenet1_1", fcos, num_classes=2)
    images, _ = images_and_targets()
    images = [torch.full_like(images[2], 30), torch.full_like(images[2], 30)]
    box = torch.tensor([[16.0, 16, 48, 48]])
    for image in images:
        image[:, 16:48, 16:48] = 220
    targets = [{"boxes": box, "labels": torch.tensor([0])}] * 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(30):
        optimizer.zero_grad()
        sum(model.train().losses(images, targets).values(), torch.zeros(())).backward()
        optimizer.step()
    best = model.eval()(images)[0, 0]
    assert best[5] == 0 and best[4] > 0.3
    torch.testing.assert_close(best[:4], torch.tensor([0.25, 0.25, 0.75, 0.75]), atol=0.12, rtol=0)


def test_a_batch_in_one_tensor_answers_as_a_list() -> None:
    torch.manual_seed(0)
    images, _ = images_and_targets()
    for channels_last in (False, True):
        model = detector("squeezenet1_1", fcos).eval()
        model.net.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        assert torch.equal(model(images[0].expand(2, -1, -1, -1)), model([images[0], images[0]]))


@pytest.mark.parametrize(("name", "head"), [*SOME, slow("ssd300_vgg16", untrained)])
def test_bfloat16_moves_no_box(name: str, head: DetectionHeadFactory) -> None:
    """In bfloat16 numbers above 256 are 2 or 4 apart: anchors and boxes are computed in float32."""
    torch.manual_seed(0)
    model = detector(name, head).eval()
    images, targets = images_and_targets()
    seen: list[Tensor] = []
    for module in model.net.modules():
        if type(module).__name__ in ("AnchorGenerator", "DefaultBoxGenerator"):
            module.register_forward_hook(lambda _, __, anchors: seen.extend(anchors))
    given: list[Tensor] = []
    for part in ("head", "rpn.head", "roi_heads.box_predictor"):
        if part in dict(model.net.named_modules()):
            hook = model.net.get_submodule(part).register_forward_hook
            hook(lambda _, __, outputs: given.extend(tree_leaves(outputs)))
    with torch.autocast("cpu", torch.bfloat16):
        losses, outputs = model.losses_and_outputs(images, targets)
    assert outputs.dtype == torch.float32 and all(loss.dtype == torch.float32 for loss in losses.values())
    assert seen and all(anchors.dtype == torch.float32 for anchors in seen)
    assert given and all(output.dtype == torch.float32 for output in given)


def frozen_by_name(model: DetectorNetwork, train: str) -> None:
    """As a phase of training freezes: every module outside what trains is in inference mode, the root too."""
    frozen = set_trainable(model, trained_modules(model, train))
    model.train()
    for name, module in model.net.named_modules():
        if name in frozen:
            module.training = False


@pytest.mark.parametrize(("name", "head"), [*SOME, slow("fasterrcnn_resnet50_fpn_v2", untrained)])
def test_a_frozen_detector_still_gives_losses(name: str, head: DetectionHeadFactory) -> None:
    torch.manual_seed(0)
    model = detector(name, head)
    frozen_by_name(model, "head")
    assert not model.net.training
    images, targets = images_and_targets()
    sum(model.losses(images, targets).values(), torch.zeros(())).backward()
    assert not model.net.training, "the mode was changed for good"
    with_gradient = {key.removeprefix("net.") for key, value in model.named_parameters() if value.grad is not None}
    assert with_gradient and all(model.in_head(key) for key in with_gradient)


def test_statistics_of_frozen_layers_stand_still_and_others_move() -> None:
    torch.manual_seed(0)

    def trainable_norms(net: nn.Module, name: str, size_px: int, classes: int):  # type: ignore[no-untyped-def]
        return fcos(net, name, size_px, classes, norms="train")

    model = detector("mobilenet_v3_small", trainable_norms)
    images, targets = images_and_targets()
    before = {key: value.clone() for key, value in model.named_buffers() if "running" in key}
    frozen_by_name(model, "head")
    model.losses(images, targets)
    assert before and all(torch.equal(value, before[key]) for key, value in model.named_buffers() if key in before)
    frozen_by_name(model, "all")
    model.losses(images, targets)
    assert not any(torch.equal(value, before[key]) for key, value in model.named_buffers() if key in before)


def test_freeze_plans_and_layer_decay_know_a_pyramid() -> None:
    model = detector("squeezenet1_1", fcos)
    trained = trained_modules(model, "head")
    assert "backbone.fpn" in trained and "head" in trained and "backbone.body" not in trained
    half = trained_modules(model, "50%")
    assert "backbone.body.features.12" in half and "backbone.body.features.3" not in half and "head" in half
    assert "backbone.body.features.12" in trained_modules(model, "backbone.body.features.10")
    assert all(block.startswith("backbone.body.") for block in model.blocks)
    optimizer = ParameterGroups(layer_decay=0.5).build(lambda groups: torch.optim.SGD(groups, lr=1.0), model)
    rates = {group["lr"] for group in optimizer.param_groups}
    assert max(rates) == 1.0 and len(rates) == len(model.blocks) + 1


@pytest.mark.parametrize(
    ("name", "head"), [("squeezenet1_1", faster_rcnn), slow("fasterrcnn_mobilenet_v3_large_320_fpn", untrained)]
)
def test_a_thin_first_image_changes_nothing_for_later_ones(name: str, head: DetectionHeadFactory) -> None:
    """torchvision guesses the strides of the maps from the first batch, by the sizes that its images had unpadded."""
    answers = []
    image = torch.randint(0, 256, (1, 3, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for first in ((128, 128), (8, 8)):
        torch.manual_seed(0)
        model = detector(name, head).eval()
        with torch.inference_mode():
            model(torch.zeros(1, 3, *first, dtype=torch.uint8))
            answers.append(model(image))
    assert (answers[0][..., 5] >= 0).any()
    torch.testing.assert_close(*answers)

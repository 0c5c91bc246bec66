"""Settings of detection that cannot go together: each told in one message, before torch is imported."""

from pathlib import Path

import pytest
from conftest import compose, typed
from support.slow import one_in

from src.settings.check import check_settings
from src.settings.errors import ConfigError
from src.settings.without_effect import void_settings

MISTAKES = [
    (["task=detection", "head=torchvision"], "that of a whole network, and backbone.name='squeezenet1_1'"),
    (["task=detection", "backbone=ssd300_vgg16", "head=fcos"], "give backbone=ssd300_vgg16 without head="),
    (["task=detection", "backbone=ssd300_vgg16", "head=linear"], "give backbone=ssd300_vgg16 without head="),
    (["task=detection", "head=linear"], "choose head=faster_rcnn or head=fcos or head=retinanet"),
    (["backbone=ssd300_vgg16"], "backbone.name='ssd300_vgg16' is a whole network for task.targets=boxes"),
    (["head=fcos"], "head=fcos is for boxes, and this task has task.targets=classes"),
    (["task=detection", "backbone=vit_b_16"], "backbone.name='vit_b_16' has no feature maps at several scales"),
    (["task=detection", "backbone.weights=null", "head.norms=frozen"], "set head.norms=train"),
    (["task=detection", "head.norms=thawed"], "Allowed: frozen, train"),
    (["task=detection", "head.channels=72"], "head.channels=72 must be a multiple of 32"),
    (["task=detection", "head.channels=32"], "head.channels=32 is out of range"),
    (["task=detection", "head.strides=[8, 12]"], "head.strides.1=12 is not allowed"),
    (["task=detection", "head.convs=9"], "head.convs=9 is out of range"),
    (["task=detection", "head=faster_rcnn", "head.proposals=0"], "head.proposals=0 is out of range"),
    (["task=detection", "head=retinanet", "head.anchor_strides=0"], "head.anchor_strides=0 is out of range"),
    (["task=detection", "+head.start=pretrained"], "head.start=pretrained is for one class per image"),
    (["task=detection", "compile=true"], "compile=true is not for networks that say what is where"),
    (["task=detection", "trainer=fsdp", "trainer.devices=2"], "trainer.strategy=fsdp cannot cut such a network yet"),
    (["task=detection", "loss=cross_entropy"], "loss=cross_entropy would do nothing"),
    (
        ["task=detection", "data=folder", "data.root=."],
        "data=folder is for task.targets=classes, and this task has task.targets=boxes: choose task=classification, or "
        "data=auto or data=coco or data=voc or data=yolo",
    ),
    (["data=coco", "data.root=."], "task=detection or task=instance_segmentation or task=segmentation, or data=folder"),
    (["task=segmentation", "data=csv", "data.file=README.md"], "or data=masks or data=auto or data=coco or data=yolo"),
    (["task=instance_segmentation", "data=voc", "data.root=."], "data=voc is for task.targets=boxes"),
    (["task=regression", "augment=none", "augment.mixup=0.2", "data=csv", "data.file=README.md"], "has none"),
    (["task=detection", "data=voc", "data.root=.", "data.without_boxes=kep"], "Did you mean 'keep'?"),
    (["task=detection", "data.cache=features"], "use images or none"),
    (["task=detection", "data.resize_mode=crop"], "would cut off what is at the edges: use fit or stretch"),
    (["task=detection", "augment=boxes", "augment.mixup=0.2"], "augment.mixup=0.2 is not for task.targets=boxes"),
    (
        ["augment=boxes_strong", "augment.zoom_out=0", "augment.iou_crop=0"],
        "augment.scale_jitter=0.5 is not for task.targets=classes",
    ),
    (
        ["task=segmentation", "head=torchvision_pixels"],
        "choose head=deeplabv3, fcn, lraspp, pyramid, or",
    ),
    (["task=segmentation", "backbone=fcn_resnet50", "head=pyramid"], "give backbone=fcn_resnet50 without head="),
    (["task=segmentation", "backbone=ssd300_vgg16"], "is a whole network for task.targets=boxes, and this task has"),
    (["task=detection", "backbone=fcn_resnet50"], "is a whole network for task.targets=masks, and this task has"),
    (["task=segmentation", "head=fcos"], "is for boxes, and this task has task.targets=masks: choose head="),
    (["task=segmentation", "loss=cross_entropy"], "is for task.targets=classes, and this task has task.targets=masks"),
    (["task=instance_segmentation", "head=faster_rcnn"], "is for boxes, and this task has task.targets=instances"),
    (
        ["task=instance_segmentation", "head=torchvision_masks"],
        "choose head=mask_rcnn, or backbone=maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2",
    ),
    (
        ["task=instance_segmentation", "backbone=maskrcnn_resnet50_fpn_v2", "head=mask_rcnn"],
        "give backbone=maskrcnn_resnet50_fpn_v2 without head=",
    ),
    (["task=detection", "backbone=maskrcnn_resnet50_fpn"], "is a whole network for task.targets=instances"),
    (["task=instance_segmentation", "backbone=ssd300_vgg16"], "is a whole network for task.targets=boxes"),
    (["task=instance_segmentation", "loss=cross_entropy"], "have losses of their own"),
    (["task=segmentation", "loss.dice_share=2"], "loss.dice_share=2 is out of range"),
    (["task=segmentation", "augment=boxes_strong"], "not for task.targets=masks: choose augment=pixels"),
]


@pytest.mark.parametrize(("settings", "text"), MISTAKES)
def test_each_mistake_is_one_message(settings: list[str], text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_settings(compose("output_dir=x", *settings), {})
    assert text in str(raised.value)
    if "loss=cross_entropy" not in settings:  # which is for classes as well
        assert str(raised.value).count("\n") == 0, raised.value


@pytest.mark.parametrize("data", ["masks", "auto", "coco", "yolo", "digit_scenes"])
@pytest.mark.parametrize("task", ["segmentation", "instance_segmentation"])
def test_formats_that_have_outlines(task: str, data: str) -> None:
    if (task, data) != ("instance_segmentation", "masks"):
        root = [] if data == "digit_scenes" else ["data.root=."]
        check_settings(compose("output_dir=x", f"task={task}", f"data={data}", *root), {})


@pytest.mark.parametrize(
    "name", one_in(4, ["fasterrcnn_resnet50_fpn_v2", "ssd300_vgg16", "retinanet_resnet50_fpn", "fcos_resnet50_fpn"])
)
def test_a_whole_detector_brings_its_head(name: str, tmp_path: Path) -> None:
    for order in (["task=detection", f"backbone={name}"], [f"backbone={name}", "task=detection"]):
        cfg = compose(f"output_dir={tmp_path}", *order, "backbone.weights=null")
        check_settings(cfg, {})
        assert cfg.head._target_ == "src.models.torchvision_detectors.own_head"


def test_the_shorter_side_may_be_limited_further() -> None:
    check_settings(compose("output_dir=x", "task=detection", "data.image_size_px=128", "data.resize_px=96"), {})
    with pytest.raises(ConfigError, match=r"data\.resize_px=96 is smaller than the crop"):
        check_settings(compose("output_dir=x", "data.image_size_px=128", "data.resize_px=96"), {})


def test_what_does_nothing_for_boxes() -> None:
    def void(*settings: str) -> list[str]:
        held = typed("task=detection", "freeze=head_only", *settings)
        return list(void_settings(held, ["data.cache_views", "data.resize_px", "augment.iou_crop"]))

    assert void() == ["data.cache_views has no effect: a head for objects looks at whole maps, which are not kept."]
    assert len(void("data.resize_mode=stretch", "data.crop_safe=false")) == 3

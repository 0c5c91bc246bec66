"""Which word is suggested for a mistyped one."""

import pytest
from omegaconf import OmegaConf

from src.settings.backbones import BACKBONES
from src.settings.errors import did_you_mean
from src.settings.project import CONF_DIR

PREDICT = [str(key) for key in OmegaConf.load(CONF_DIR / "predict.yaml")]
TRAIN = [
    "data", "backbone", "head", "task", "loss", "optimizer", "scheduler", "freeze", "augment", "trainer", "callbacks",
    "logger", "parameter_groups", "name", "seed", "test", "soup", "resume", "trust", "output_dir", "compile",
]  # fmt: skip
OF_DATA = ["batch_size", "num_workers", "image_size_px", "root", "val_fraction", "test_fraction", "cache", "cache_dir"]
WORDS = ["auto", "cpu", "gpu", "mps", "max", "min", "sgd", "adam", "adamw", "csv", "coco", "yolo", "none", "cosine"]


@pytest.mark.parametrize(
    ("choices", "typos"),
    [
        (TRAIN, "sede=seed sed=seed seeed=seed tset=test tes=test nam=name nmae=name taks=task tsk=task dta=data"),
        (TRAIN, "daat=data los=loss hed=head haed=head heads=head sopu=soup optim=optimizer sheduler=scheduler"),
        (TRAIN, "optimiser=optimizer traner=trainer bacbkone=backbone augmentation=augment resum=resume"),
        (
            PREDICT,
            "ckp=ckpt cpkt=ckpt imges=images out=output drwa=draw mask=masks tat=tta tile=tile_px",
        ),
        (OF_DATA, "rot=root rooot=root batchsize=batch_size workers=num_workers image_size=image_size_px chache=cache"),
        (WORDS, "gpux=gpu gup=gpu CPU=cpu mx=max maximum=max sdg=sgd SGD=sgd AdamW=adamw cvs=csv coc=coco cos=cosine"),
        (["lr", "betas", "weight_decay"], "lrr=lr LR=lr beta=betas decay=weight_decay weightdecay=weight_decay"),
        (BACKBONES, "resnet5=resnet50 ResNet50=resnet50 resnet-50=resnet50 densnet121=densenet121 vitb16=vit_b_16"),
    ],
)
def test_typos_have_their_word(choices: list[str], typos: str) -> None:
    for typed, meant in (typo.split("=") for typo in typos.split()):
        assert did_you_mean(typed, choices, "x.") == f" Did you mean 'x.{meant}'?", typed


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (PREDICT, "data task head loss seed lr test freeze name model split trainer"),
        (TRAIN, "file lr epochs gpu fold tta mode images ckpt root"),
        (OF_DATA, "lr seed path name dir"),
        (["trivial", "rand", "augmix"], "foo auto"),
    ],
)
def test_other_words_have_none(choices: list[str], words: str) -> None:
    """A wild guess is worse than the list of all, which stands beside it."""
    assert [word for word in words.split() if did_you_mean(word, choices)] == []

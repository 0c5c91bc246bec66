"""The types of all settings and the names of the backbones, made known to Hydra. Imports no torch."""

from hydra.core.config_store import ConfigStore

from src.settings.backbones import BACKBONES
from src.settings.project import CONF_DIR
from src.settings.train_schema import TrainConfig
from src.settings.use_schema import (
    CheckConfig,
    CompareConfig,
    EvaluateConfig,
    ExplainConfig,
    ExportConfig,
    PredictConfig,
    PublishConfig,
    ServeConfig,
)

SCHEMAS = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "compare": CompareConfig,
    "publish": PublishConfig,
    "serve": ServeConfig,
    "explain": ExplainConfig,
    "export": ExportConfig,
    "check": CheckConfig,
}


def register() -> None:
    """Make the schemas and the backbones known to Hydra. `conf/backbone/*.yaml` wins over the generated options."""
    store = ConfigStore.instance()
    for name, schema in SCHEMAS.items():
        # At the top level and not in a group of its own, which --help would list among the groups to choose from.
        store.store(name=f"{name}_schema", node=schema)
    for name in BACKBONES:
        if not (CONF_DIR / "backbone" / f"{name}.yaml").exists():
            store.store(group="backbone", name=name, node={"name": name, "weights": "DEFAULT"}, package="backbone")

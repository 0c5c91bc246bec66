"""report/model_card.md: what the model is, what it was trained on, how good it is and where it ends.

Made of plain data. The front matter is what model hubs read (Mitchell et al. 2019, arXiv 1810.03993, for the sections).
What only a person can know stands there as `TO FILL IN`.
"""

from src.evaluation.metric_facts import facts_of
from src.reports import card_sections
from src.reports.card_sections import TO_FILL_IN, CardFacts, plain, yaml_text


def model_card(card: CardFacts) -> str:
    """The card as Markdown with YAML front matter."""
    sections = [
        front_matter(card),
        f"# {plain(card.config.get('name') or card.config['backbone']['name'])}",
        "\n".join(card_sections.what_it_is(card)),
        f"## Intended use\n\n- Made for: {TO_FILL_IN}\n- Not to be used for: {TO_FILL_IN}\n- Made by: {TO_FILL_IN}",
        "## Data\n\n" + "\n".join(card_sections.about_data(card)),
        "## Training\n\n" + "\n".join(card_sections.recipe(card)),
        "## Metrics\n\n" + "\n".join(card_sections.metric_table(card)),
        "## Calibration\n\n" + "\n".join(card_sections.about_calibration(card)),
        "## Limits\n\n" + "\n".join(card_sections.limits(card)),
        "## How to use\n\n" + HOW_TO_USE.format(data=card.words.data, explain=EXPLAIN if card.words.explains else ""),
        "## Environment\n\n" + "\n".join(card_sections.about_environment(card)),
        f"## Licence\n\n- Of this model: {TO_FILL_IN}\n- Of the training images: {TO_FILL_IN}\n- Of the pretrained "
        f"weights: {TO_FILL_IN} (torchvision's weights were trained on ImageNet, which has terms of its own)",
    ]
    return "\n\n".join(sections) + "\n"


EXPLAIN = "python -m src.explain  ckpt=best.ckpt images=<folder>\n"
HOW_TO_USE = """In a checkout of the project that trained it:

```
python -m src.predict  ckpt=best.ckpt images=<folder>
{explain}python -m src.evaluate ckpt=best.ckpt data={data} data.root=<folder>
```

Resizing and normalisation are in the checkpoint."""


def front_matter(card: CardFacts) -> str:
    """YAML that model hubs read."""
    tags = ["torchvision", "pytorch", "lightning", card.words.hub_tag, card.config["backbone"]["name"]]
    measured = [facts.hub for key in card.metrics if key.startswith("val/") and (facts := facts_of(key)).hub]
    lines = ["---", f"pipeline_tag: {card.words.hub_task}", "library_name: pytorch"]
    lines += ["tags:", *(f"- {yaml_text(tag)}" for tag in tags)]
    if measured:
        lines += ["metrics:", *(f"- {metric}" for metric in dict.fromkeys(measured))]
    lines += ["class_names:", *(f"- {yaml_text(class_name)}" for class_name in card.class_names)]
    return "\n".join([*lines, "---"])

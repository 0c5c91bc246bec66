"""The images that are worth a label next: a table to fill in, and a page that shows them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from src.build.trained_model import TrainedModel
from src.cli.progress import progress_bar
from src.data.decode import UnreadableImage, read_rgb
from src.evaluation.label_choice import chosen, number_looked_at
from src.evaluation.prediction import Prediction
from src.files.csv_files import write_csv_file
from src.files.printable import printable
from src.files.whole_files import replaced
from src.predicting.answers import Answers, HowToPredict
from src.reports.parts import SIDE_PX, small_image, write_document
from src.settings.errors import ConfigError
from src.settings.plurals import agreeing

TITLE, SHOWN = "Images to label next", 200


@dataclass(frozen=True, eq=False)
class Doubtful:
    """An image, what the model says about it, and how unsure it is (`Prediction.doubt`); its vector float32 [C]."""

    path: str
    prediction: Prediction
    doubt: float
    vector_C: npt.NDArray[np.float32]


class LabelChoice:
    """Looks at images and chooses `count` of them; `unreadable` counts those that cannot be read.

    Raises ConfigError if the model does not say how unsure it is, or makes no vector of an image.
    """

    def __init__(self, model: TrainedModel, count: int, batch_size: int | None, num_workers: int | None) -> None:
        if not model.task.prediction.can_abstain:
            raise ConfigError(
                "ckpt: this model does not choose one class per image, and for no other kind is it known which images "
                "are worth a label next: label images drawn at random."
            )
        self.answers = Answers(
            model, HowToPredict(keep_embeddings=True, batch_size=batch_size, num_workers=num_workers)
        )
        self.count, self.unreadable = count, 0

    def of(self, folder: Path, paths: list[str]) -> list[Doubtful]:
        """The most doubtful first. Keeps no more images in mind than are looked at in the end, or twice as many."""
        most = number_looked_at(len(paths), self.count)
        kept: list[Doubtful] = []
        for one in self.doubtful(folder, paths):
            kept.append(one)
            if len(kept) > 2 * most:
                kept = most_doubtful(kept, most)
        if not kept:
            raise ConfigError("images: not one of them can be read.")
        kept = most_doubtful(kept, most)
        doubts_N = np.array([one.doubt for one in kept], dtype=np.float32)
        rows = chosen(doubts_N, np.stack([one.vector_C for one in kept]), self.count, most)
        return [kept[n] for n in rows.tolist()]

    def doubtful(self, folder: Path, paths: list[str]) -> Iterator[Doubtful]:
        with torch.inference_mode(), progress_bar() as progress:
            bar = progress.add_task("look", total=len(paths), speed="", loss="")
            for results in self.answers.of(folder, paths):
                said = list(results)
                progress.update(bar, advance=len(said))
                readable = [(one.path, one.prediction) for one in said if one.prediction is not None]
                self.unreadable += len(said) - len(readable)
                vectors = torch.cat(self.answers.embeddings).numpy() if readable else ()
                self.answers.embeddings.clear()
                for (path, prediction), vector_C in zip(readable, vectors, strict=True):
                    if (doubt := prediction.doubt) is not None and np.isfinite(doubt):
                        yield Doubtful(path, prediction, doubt, vector_C)


def most_doubtful(images: Iterable[Doubtful], number: int) -> list[Doubtful]:
    return sorted(images, key=lambda one: -one.doubt)[:number]


def write_choice(table: Path, folder: Path, images: list[Doubtful], spreadsheet_safe: bool) -> Path:
    """A row per image with an empty label, which people fill in; and the page beside it, which is returned."""
    rows = [[one.path, "", one.prediction.answer, f"{one.doubt:.4f}"] for one in images]
    with replaced(table) as part:
        write_csv_file(part, ["path", "label", "prediction", "doubt"], rows, spreadsheet_safe)
    cards = "".join(card(folder, one) for one in images[:SHOWN])
    rest = len(images) - SHOWN
    gist = (
        f"{len(images):,} [image of which the model is unsure. Its label goes|images of which the model is unsure, and "
        "that differ from each other; the least sure first. Their labels go] into the table beside this page."
    )
    parts = [
        f"<h1>{TITLE}</h1><p>{agreeing(len(images), gist)}</p>",
        f'<ul class="cards">{cards}</ul>',
        f"<p>{rest:,} more are in the table.</p>" if rest > 0 else "",
    ]
    page = table.with_suffix(".html")
    write_document(page, TITLE, parts)
    return page


def card(folder: Path, one: Doubtful) -> str:
    try:
        shown = small_image(read_rgb(folder / one.path, SIDE_PX))
    except UnreadableImage:  # gone since
        shown = ""
    where = f"doubt {one.doubt:.3f}<br>{escape(printable(one.path))}"
    return (
        f'<li class="card"><figure>{shown}<figcaption><b>{escape(printable(one.prediction.words))}</b><br>'
        f'<span class="where">{where}</span></figcaption></figure></li>'
    )

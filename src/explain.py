"""Heat maps over images: which places speak for a class, from a checkpoint alone.

python -m src.explain ckpt=<run dir or .ckpt> images=<dir, glob, file or table> [output=explanations] [class_name=...]
"""

import logging
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from src.cli.command import command, importing
from src.files.csv_files import CsvWriter
from src.files.outputs import IMAGE_SOFTWARE, output_folder
from src.files.whole_files import GrowingFile, made_folder, part_of, replaced
from src.settings.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from src.training.scores_task import ScoresTask

log = logging.getLogger(__name__)

TABLE = "explanations.csv"
COLUMNS = ["path", "prediction", "confidence", "explained", "explained_probability", "file", "error"]


def explain(cfg: DictConfig) -> None:
    """Write a PNG for each image and explained class, and explanations.csv and index.html, which show all of them.

    Columns of explanations.csv: path; prediction and confidence, as src.predict has them (confidence only with one
    class per image); explained, the class or target that the map is for, and its probability; file, the PNG; error. A
    multilabel model has a row for each class that reaches its threshold, or for the likeliest if none does.
    """
    from src.data.given_images import find_images

    folder, paths = find_images(cfg.images, cfg.root)
    output = find_output(cfg, [folder / path for path in paths])

    with importing():
        import torch

        from src.build.trained_model import TrainedModel
        from src.cli.progress import progress_bar
        from src.data.image_files import FileDataset, collate_files
        from src.data.transforms import evaluation_transform
        from src.models.grad_cam import explain_batch
        from src.reports.drawing import draw_explanation
        from src.reports.explanations import write_page

    model = TrainedModel.open(cfg.ckpt, cfg.accelerator, cfg.trust)
    task = model.task
    class_index = find_class(cfg.class_name, task)
    dataset = FileDataset(folder, paths, evaluation_transform(model.preprocessing))
    start, rows, empty = time.perf_counter(), list[dict[str, str]](), 0
    with made_folder(output), GrowingFile(output / TABLE) as file, progress_bar() as progress:
        bar = progress.add_task("explain", total=len(paths), speed="", loss="")
        writer = CsvWriter(file, COLUMNS, cfg.spreadsheet_safe)
        for first in range(0, len(paths), cfg.batch_size):
            numbers = range(first, min(first + cfg.batch_size, len(paths)))
            images_BCHW, batch_paths, errors = collate_files([dataset[i] for i in numbers])
            readable = [number for number, error in zip(numbers, errors, strict=True) if error is None]
            explained = explain_images(task, images_BCHW, class_index)
            # An image with several classes has several maps.
            at_B = torch.tensor([at for at, row in enumerate(explained) for _ in row], dtype=torch.int64)
            classes_B = torch.tensor([k for row in explained for k, _ in row], dtype=torch.int64)
            maps_BHW = explain_batch(task, images_BCHW[at_B], classes_B) if len(at_B) else torch.empty(0)
            maps = iter(maps_BHW.numpy())
            for number, path, reason in zip(numbers, batch_paths, errors, strict=True):
                if reason is not None:
                    rows.append({"path": path, "error": reason})
                    writer.write(rows[-1])
                    continue
                at = readable.index(number)
                for turn, (_, facts) in enumerate(explained[at]):
                    map_HW = next(maps)
                    empty += int(map_HW.max() == 0)
                    name = f"{number + 1:05d}{f'_{turn + 1}' if turn else ''}.png"
                    pixels_HW3 = images_BCHW[at].permute(1, 2, 0).numpy()
                    save(draw_explanation(pixels_HW3, map_HW, *words_for(facts)), output / name)
                    rows.append({"path": path, **facts, "file": name})
                    writer.write(rows[-1])
            file.keep()
            progress.update(bar, advance=len(numbers))
        write_page(output / "index.html", rows)
    bad = sum("error" in row for row in rows)
    seconds = time.perf_counter() - start
    log.info("%d images in %.1f s, %d could not be read: %s", len(paths), seconds, bad, output / "index.html")
    if empty:
        log.warning("%d maps are empty: at the layer that is looked at, nothing speaks for the class.", empty)


def find_output(cfg: DictConfig, images: list[Path]) -> Path:
    """The folder to write to. Raises ConfigError if that would be the images', or if files of others are in the way."""
    output, given = Path(cfg.output).expanduser(), Path(cfg.images).expanduser()
    if given.is_dir() and output.resolve().is_relative_to(given.resolve()):
        raise ConfigError(
            f"output='{cfg.output}' is in the folder of the images, '{cfg.images}', and the next command would take "
            "the maps for images: give a folder elsewhere."
        )
    maps = [path.name for path in output.glob("*.[pP][nN][gG]") if map_number(path) in range(1, len(images) + 1)]
    reads = [given, Path(cfg.ckpt), *(image for image in images if image.name in maps)]
    files = (TABLE, part_of(Path(TABLE)).name, "index.html", *maps)
    return output_folder(cfg.output, "output", files, cfg.overwrite, reads)


def map_number(file: Path) -> int | None:
    """Of the image, from 1, whose map would have this name; None if no map would."""
    name = re.fullmatch(r"(\d{5,})(_\d+)?", file.stem)
    return int(name[1]) if name else None


def save(map_: "Image.Image", file: Path) -> None:
    """As PNG that says whose it is, so that it can be written over."""
    from PIL.PngImagePlugin import PngInfo

    facts = PngInfo()
    facts.add_text("Software", IMAGE_SOFTWARE)
    with replaced(file) as part:
        map_.save(part, pnginfo=facts)


def find_class(name: str | None, task: "ScoresTask") -> int | None:
    """The index of the class or target to explain; None for what is predicted. Raises ConfigError if there is none."""
    if name is None:
        return None if task.probability_columns else 0
    if name not in task.class_names:
        hint, names = did_you_mean(name, task.class_names), ", ".join(task.class_names[:50])
        raise ConfigError(f"class_name='{name}' is unknown to this model.{hint} It knows: {names}.")
    return task.class_names.index(name)


def explain_images(
    task: "ScoresTask", images_BCHW: "Tensor", class_index: int | None
) -> list[list[tuple[int, dict[str, str]]]]:
    """For each image the classes to explain, with the columns of explanations.csv that say what the model thinks."""
    import torch

    if not len(images_BCHW):
        return []
    with torch.inference_mode():
        outputs_BK = task(images_BCHW.to(task.device)).float()
        shares_BK, answers = task.probabilities(outputs_BK), task.answers(outputs_BK)
    images = []
    for at, answer in enumerate(answers):
        facts = dict(zip(task.answer_columns, answer, strict=True))
        if not task.probability_columns:  # numbers: the answer has a column per target
            assert class_index is not None
            name = task.class_names[class_index]
            images.append([(class_index, {"prediction": facts[name], "explained": name})])
            continue
        if class_index is not None:
            classes = [class_index]
        elif "confidence" in facts:
            classes = [int(outputs_BK[at].argmax())]
        else:
            shown = set(facts["prediction"].split(";"))
            classes = [k for k, name in enumerate(task.class_names) if name in shown]
            classes = classes or [int(shares_BK[at].argmax())]
        images.append([
            (k, {**facts, "explained": task.class_names[k], "explained_probability": f"{shares_BK[at, k]:.6f}"})
            for k in classes
        ])  # fmt: skip
    return images


def words_for(facts: dict[str, Any]) -> tuple[str, str]:
    """What stands over the image and over its map."""
    sure = f" {float(facts['confidence']):.0%}" if "confidence" in facts else ""
    share = f" {float(facts['explained_probability']):.0%}" if "explained_probability" in facts else ""
    return f"{facts['prediction'] or '(none)'}{sure}", f"for {facts['explained']}{share}"


main = command("explain")(explain)

if __name__ == "__main__":
    main()

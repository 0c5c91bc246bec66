"""Images with what was found in them, for people to look at. No torch."""

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from src.data.decode import read_rgb
from src.evaluation.prediction import Prediction
from src.files.outputs import IMAGE_SOFTWARE, LABELS_BEGIN
from src.files.whole_files import replaced

SOFTWARE_TAG = 0x0131  # of EXIF
MOST_JPEG_PX = 65535  # side


def drawn_name(number: int, path: str) -> str:
    """Of the image with this number, from 1: its own name may be there twice."""
    return f"{number:05d}_{Path(path).stem[:50]}.jpg"


def draw_found(file: Path, prediction: Prediction, drawn: Path) -> None:
    """The image of `file` with what is said, as JPEG that says whose it is, so that it can be written over."""
    image = prediction.drawn_on(read_rgb(file))
    if max(image.size) > MOST_JPEG_PX:
        image.thumbnail((MOST_JPEG_PX, MOST_JPEG_PX))
    facts = Image.Exif()
    facts[SOFTWARE_TAG] = IMAGE_SOFTWARE
    with replaced(drawn) as part:
        image.save(part, quality=90, subsampling=0, exif=facts)  # thin lines keep their colour


def save_mask(prediction: Prediction, file: Path) -> None:
    """As PNG, in folders that are made if need be."""
    file.parent.mkdir(parents=True, exist_ok=True)
    save_png(prediction.as_mask(), file)


def save_png(image: Image.Image, file: Path) -> None:
    """As PNG that says whose it is, so that it can be written over."""
    facts = PngInfo()
    facts.add_text("Software", IMAGE_SOFTWARE)
    with replaced(file) as part:
        image.save(part, pnginfo=facts)


def write_labels(file: Path, labels: list[str]) -> None:
    """Beside masks, if there is something to say about their numbers."""
    if labels:
        with replaced(file) as part:
            part.write_text("\n".join([LABELS_BEGIN, *labels, ""]), encoding="utf-8")

"""Images with what was found in them, for people to look at. No torch."""

from pathlib import Path

from PIL import Image

from src.data.decode import read_rgb
from src.evaluation.found_objects import FoundObjects
from src.files.outputs import IMAGE_SOFTWARE
from src.files.whole_files import replaced
from src.reports.drawn_boxes import color_of, draw_boxes
from src.reports.painted_objects import painted

SMALL_PX = 400  # longer side: smaller images are drawn enlarged, for the letters
SOFTWARE_TAG = 0x0131  # of EXIF
MOST_JPEG_PX = 65535  # side


def drawn_name(number: int, path: str) -> str:
    """Of the image with this number, from 1: its own name may be there twice."""
    return f"{number:05d}_{Path(path).stem[:50]}.jpg"


def draw_found(file: Path, prediction: FoundObjects, drawn: Path) -> None:
    """The image of `file` with its boxes, as JPEG that says whose it is, so that it can be written over."""
    image = read_rgb(file)
    colors = [color_of(k) for k in prediction.class_ids.tolist()]
    image = painted(image, prediction.crops, colors)
    factor = max(1, SMALL_PX // max(image.size))
    if factor > 1:
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    texts = [f"{name} {score:.2f}" for name, score in zip(prediction.names, prediction.numbers.tolist(), strict=True)]
    image = draw_boxes(image, prediction.boxes_xyxy * factor, texts, colors)
    if max(image.size) > MOST_JPEG_PX:
        image.thumbnail((MOST_JPEG_PX, MOST_JPEG_PX))
    facts = Image.Exif()
    facts[SOFTWARE_TAG] = IMAGE_SOFTWARE
    with replaced(drawn) as part:
        image.save(part, quality=90, subsampling=0, exif=facts)  # thin lines keep their colour

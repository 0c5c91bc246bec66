"""Predictions of a file from src.export, with numpy, Pillow and onnxruntime alone: to copy into a service.

python predict_onnx.py model.onnx <folder or image> [predictions.csv [folder for images with their boxes, or for masks]]

The columns are those of src.predict: a row per image, or per box of a detector. Of a class for each pixel the folder
gets PNGs whose pixels are numbers of classes, with a palette; without a folder they are not written. Boxes with masks
are drawn with these.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageColor, ImageDraw, ImageOps

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2",
)  # fmt: skip
LEAST_PX = 0.01  # side of a box
SHOWN_SHARE = 0.005  # of the pixels, from which a class is named
CORNERS = ("x1", "y1", "x2", "y2")
DRAFT_MARGIN = 3  # a JPEG may come reduced while its shorter side has this many times the pixels that are needed


def decode(path: Path, needed_px: int) -> tuple[np.ndarray, list[float]]:
    """RGB uint8 [1, 3, H, W], upright by its EXIF tag, transparency over white; see src/data/decode.py.

    And how many times as many pixels width and height of the file have: large JPEGs come reduced.
    """
    with Image.open(path) as file:
        image: Image.Image = file
        if image.width * image.height > 180e6 or max(image.size) > 1000 * min(image.size):
            raise ValueError(f"{image.width} x {image.height} pixels are too many, or too thin")
        whole_wh = image.size
        image.draft(None, (DRAFT_MARGIN * needed_px, DRAFT_MARGIN * needed_px))
        scale = [whole / reduced for whole, reduced in zip(whole_wh, image.size, strict=True)]
        scale = scale[::-1] if image.getexif().get(0x0112, 1) in (5, 6, 7, 8) else scale
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith(("I", "F")) or image.mode == "LAB":
            raise ValueError(f"images of mode {image.mode} are for src.predict")
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)[None]
        return np.ascontiguousarray(pixels), scale


class Model:
    """Of a class per image, of classes that reach their thresholds, of numbers, of boxes, or of a class for each pixel:
    the outputs tell which. Of the last image `mask`, uint8 [H, W], or `masks` of its boxes, bool [M, H, W].
    """

    mask: np.ndarray
    masks: np.ndarray = np.empty((0, 1, 1), dtype=bool)

    def __init__(self, file: str) -> None:
        self.session = onnxruntime.InferenceSession(file)
        metadata = self.session.get_modelmeta().custom_metadata_map
        keys = ("class_names", "thresholds", "preprocessing")
        names, self.thresholds, self.preprocessing = (json.loads(metadata[key]) for key in keys)
        answer = ["prediction"] if self.thresholds else ["prediction", "confidence"]
        self.names, self.columns = names, ["path", *answer, "ood_score", "error", *(f"prob:{name}" for name in names)]
        self.kind = self.session.get_outputs()[0].name
        if self.kind == "boxes":
            more = ["pixels"] if len(self.session.get_outputs()) > 3 else []
            self.columns = ["path", *CORNERS, "prediction", "score", *more, "error"]
        if self.kind == "mask":
            self.palette = [part for color in json.loads(metadata["palette"]) for part in color]
            self.columns = ["path", "prediction", "confidence", "error", *(f"share:{name}" for name in names)]
        if self.kind == "values":
            self.names = [f"predicted:{n}" if n in ("path", "label", "ood_score", "error") else n for n in names]
            self.columns = ["path", *self.names, "error"]

    def predict(self, path: Path) -> list[dict[str, str]]:
        try:
            images, scale = decode(path, self.preprocessing["resize_px"])
            outputs = self.session.run(None, {"images": images})
        except Exception as error:  # decoders raise whatever they like, and so does onnxruntime
            reason = str(error).replace(repr(str(path)), "").strip(" :") or type(error).__name__
            return [{"path": str(path), "error": reason}]
        if self.kind == "boxes":
            found = self.boxes(outputs, scale)
            return [{"path": str(path), **row} for row in found] or [{"path": str(path)}]
        if self.kind == "mask":
            return [{"path": str(path), **self.pixels(outputs[0][0], outputs[1][0], scale)}]
        return [self.row(path, *(output[0] for output in outputs))]

    def boxes(self, outputs: list[np.ndarray], scale: list[float]) -> list[dict[str, str]]:
        """Those whose score reaches the threshold of their class, the best first; in pixels of the upright file."""
        corners, scores, labels = outputs[0] * np.array(scale * 2, dtype=np.float32), *outputs[1:3]
        least = np.array(self.thresholds or [0.5] * len(self.names), dtype=np.float32)
        kept = (scores >= least[labels]) & ((corners[:, 2:] - corners[:, :2]).min(axis=1, initial=1) >= LEAST_PX)
        rows = [
            {name: f"{side:.2f}" for name, side in zip(CORNERS, box, strict=True)}
            | {"prediction": self.names[label], "score": f"{score:.6f}"}
            for box, score, label in zip(corners[kept].tolist(), scores[kept], labels[kept], strict=True)
        ]
        if len(outputs) > 3:
            self.masks = np.array([in_file(mask, scale) for mask in outputs[3][kept]], dtype=bool)
            rows = [row | {"pixels": str(mask.sum())} for row, mask in zip(rows, self.masks, strict=True)]
        return rows

    def pixels(self, mask: np.ndarray, confidence: np.ndarray, scale: list[float]) -> dict[str, str]:
        """Shares of the classes in the pixels of the upright file, those of half a percent as the prediction."""
        self.mask = in_file(mask, scale)
        shares = np.bincount(self.mask.reshape(-1), minlength=len(self.names)) / self.mask.size
        shown = [self.names[k] for k in np.argsort(-shares, kind="stable") if shares[k] >= SHOWN_SHARE]
        row = {"prediction": ";".join(shown), "confidence": f"{confidence.mean():.6f}"}
        return row | {f"share:{name}": f"{share:.6f}" for name, share in zip(self.names, shares, strict=True)}

    def write_mask(self, file: Path) -> None:
        image = Image.fromarray(self.mask).convert("L")
        image.putpalette(self.palette)
        file.parent.mkdir(parents=True, exist_ok=True)
        image.save(file)

    def row(self, path: Path, first: np.ndarray, *ood: np.ndarray) -> dict[str, str]:
        if not ood:
            return {"path": str(path), **{name: f"{x:.6g}" for name, x in zip(self.names, first, strict=True)}}
        row = {"path": str(path), "ood_score": f"{ood[0]:.4f}"}
        row |= {f"prob:{name}": f"{share:.6f}" for name, share in zip(self.names, first, strict=True)}
        if self.thresholds:
            shown = zip(self.names, first, self.thresholds, strict=True)
            return {**row, "prediction": ";".join(name for name, share, least in shown if share >= least)}
        return {**row, "prediction": self.names[int(first.argmax())], "confidence": f"{first.max():.6f}"}


def in_file(mask: np.ndarray, scale: list[float]) -> np.ndarray:
    """A mask uint8 [H, W] in pixels of the upright file."""
    size = [round(side * factor) for side, factor in zip(mask.shape[::-1], scale, strict=True)]
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))


def draw(path: Path, rows: list[dict[str, str]], masks: np.ndarray, file: Path) -> None:
    """The image with its boxes, and with their masks if there are any, as JPEG; the same class has the same colour."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    for row, mask in zip(rows, masks, strict=False):
        image.paste(color_of(row), mask=Image.fromarray(mask.astype(np.uint8) * 110))
    brush, width = ImageDraw.Draw(image), max(1, max(image.size) // 320)
    for row in rows:
        if row.get("prediction"):
            left, top, right, bottom = (float(row[name]) for name in CORNERS)
            color, text = color_of(row), f"{row['prediction']} {float(row['score']):.2f}"
            brush.rectangle((left, top, max(right - 1, left), max(bottom - 1, top)), outline=color, width=width)
            brush.text((left + width, top), text, fill=color, font_size=max(10, max(image.size) // 45))
    image.save(file, quality=90)


def color_of(row: dict[str, str]) -> tuple[int, ...]:
    return ImageColor.getrgb(f"hsl({sum(row['prediction'].encode()) * 47 % 360}, 90%, 50%)")


def main(model_file: str, images: str, output: str = "predictions.csv", drawn: str = "") -> None:
    given, paths, file = Path(images), [Path(images)], Path(output)
    if given.is_dir():
        paths = sorted(p for p in given.rglob("*") if p.suffix.lower() in SUFFIXES and p.name[0] != ".")
    if not given.exists() or not paths:
        sys.exit(f"'{images}' is no image and no folder with images.")
    if file.exists():  # earlier predictions alone are written over
        columns = file.open("rb").readline().strip().split(b",") if file.is_file() else [b""]
        if columns[0] != b"path" or b"error" not in columns:
            sys.exit(f"'{output}' is there already and is no earlier output: give another name; of images, a folder.")
    if drawn and (Path(drawn).is_file() or (Path(drawn).is_dir() and any(Path(drawn).iterdir()))):
        sys.exit(f"'{drawn}' is there already, with something in it: give another name.")
    try:
        model, stream = Model(model_file), file.open("w", newline="", encoding="utf-8")
    except Exception as error:  # onnxruntime has errors of its own; other .onnx files lack the facts
        sys.exit(f"'{model_file}' is no .onnx of src.export, or '{output}' cannot be written: {error!r}"[:500])
    with stream:
        writer = csv.DictWriter(stream, model.columns)
        writer.writeheader()
        for number, path in enumerate(paths, start=1):
            rows = model.predict(path)
            writer.writerows(rows)
            if drawn and not rows[0].get("error") and model.kind == "mask":
                below = path.relative_to(given if given.is_dir() else given.parent)
                same = sum(other.with_suffix("") == path.with_suffix("") for other in paths) > 1
                model.write_mask(Path(drawn) / (f"{below}.png" if same else below.with_suffix(".png")))
            elif drawn and not rows[0].get("error"):
                Path(drawn).mkdir(exist_ok=True)
                draw(path, rows, model.masks, Path(drawn) / f"{number:05d}_{path.stem}.jpg")


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) in (3, 4, 5) else sys.exit(__doc__)

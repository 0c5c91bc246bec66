"""Predictions of a file from src.export, with numpy, Pillow and onnxruntime alone: to copy into a service.

python predict_onnx.py model.onnx <folder or image> [predictions.csv], whose columns are those of src.predict.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2",
)  # fmt: skip
DRAFT_MARGIN = 3  # a JPEG may come reduced while its shorter side has this many times the pixels that are needed


def decode(path: Path, needed_px: int) -> np.ndarray:
    """RGB uint8 [1, 3, H, W], upright by its EXIF tag, transparency over white; see src/data/decode.py."""
    with Image.open(path) as file:
        image: Image.Image = file
        if image.width * image.height > 180e6 or max(image.size) > 1000 * min(image.size):
            raise ValueError(f"{image.width} x {image.height} pixels are too many, or too thin")
        image.draft(None, (DRAFT_MARGIN * needed_px, DRAFT_MARGIN * needed_px))
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith(("I", "F")) or image.mode == "LAB":
            raise ValueError(f"images of mode {image.mode} are for src.predict")
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)[None]


class Model:
    """Of a class per image, of classes that reach their thresholds, or of numbers: the outputs and facts tell which."""

    def __init__(self, file: str) -> None:
        self.session = onnxruntime.InferenceSession(file)
        metadata = self.session.get_modelmeta().custom_metadata_map
        keys = ("class_names", "thresholds", "preprocessing")
        names, self.thresholds, self.preprocessing = (json.loads(metadata[key]) for key in keys)
        answer = ["prediction"] if self.thresholds else ["prediction", "confidence"]
        self.names, self.columns = names, ["path", *answer, "ood_score", "error", *(f"prob:{name}" for name in names)]
        if self.session.get_outputs()[0].name == "values":
            self.names = [f"predicted:{n}" if n in ("path", "label", "ood_score", "error") else n for n in names]
            self.columns = ["path", *self.names, "error"]

    def predict(self, path: Path) -> dict[str, str]:
        try:
            images = np.ascontiguousarray(decode(path, self.preprocessing["resize_px"]))
        except Exception as error:  # decoders raise whatever they like
            reason = str(error).replace(repr(str(path)), "").strip(" :") or type(error).__name__
            return {"path": str(path), "error": reason}
        first, *ood = (output[0] for output in self.session.run(None, {"images": images}))
        if not ood:
            return {"path": str(path), **{name: f"{x:.6g}" for name, x in zip(self.names, first, strict=True)}}
        row = {"path": str(path), "ood_score": f"{ood[0]:.4f}"}
        row |= {f"prob:{name}": f"{share:.6f}" for name, share in zip(self.names, first, strict=True)}
        if self.thresholds:
            shown = zip(self.names, first, self.thresholds, strict=True)
            return {**row, "prediction": ";".join(name for name, share, least in shown if share >= least)}
        return {**row, "prediction": self.names[int(first.argmax())], "confidence": f"{first.max():.6f}"}


def main(model_file: str, images: str, output: str = "predictions.csv") -> None:
    given, paths, file = Path(images), [Path(images)], Path(output)
    if given.is_dir():
        paths = sorted(p for p in given.rglob("*") if p.suffix.lower() in SUFFIXES and p.name[0] != ".")
    if not given.exists() or not paths:
        sys.exit(f"'{images}' is no image and no folder with images.")
    if file.exists():  # earlier predictions alone are written over
        columns = file.open("rb").readline().strip().split(b",") if file.is_file() else [b""]
        if columns[0] != b"path" or b"error" not in columns:
            sys.exit(f"'{output}' is there already and is no earlier output: give another name; of images, a folder.")
    try:
        model, stream = Model(model_file), file.open("w", newline="", encoding="utf-8")
    except Exception as error:  # onnxruntime has errors of its own; other .onnx files lack the facts
        sys.exit(f"'{model_file}' is no .onnx of src.export, or '{output}' cannot be written: {error!r}"[:500])
    with stream:
        writer = csv.DictWriter(stream, model.columns)
        writer.writeheader()
        writer.writerows(map(model.predict, paths))


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) in (3, 4) else sys.exit(__doc__)

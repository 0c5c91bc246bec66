"""Thousands of damaged uploads of every format that is served: each is answered or refused, and that is all."""

import io
import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save_model
from PIL import Image
from support.serving import METADATA, NAMES, Server

from src.serving.pixels import known_formats

SECONDS = 60
MAX_MEGAPIXELS = 4
TOGETHER = 8  # files in one request
# Of decode_megapixels=8, at 14 MB each, with as much again for what damage makes decoders do, and for uploads.
MOST_MB = 300


def write_model(file: Path) -> Path:
    """Answers for every image, from its mean colours."""
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean_N3"], keepdims=0),
        helper.make_node("Softmax", ["mean_N3"], ["probabilities"], axis=1),
        helper.make_node("ReduceSum", ["mean_N3", "one"], ["ood_score"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes, "mean_colour", [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 3, "H", "W"])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3]),
            helper.make_tensor_value_info("ood_score", TensorProto.FLOAT, ["N"]),
        ],
        [numpy_helper.from_array(np.array([2, 3]), "axes"), numpy_helper.from_array(np.array([1]), "one")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {key: json.dumps(value) for key, value in METADATA.items()})
    save_model(model, file)
    return file


def seeds() -> Iterator[tuple[str, bytes]]:
    """(format, file): small images of each format that this Pillow has, in its modes and kinds."""
    rng = np.random.default_rng(0)
    rgba = Image.fromarray(rng.integers(0, 256, (48, 64, 4), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(rng.integers(0, 65536, (48, 64), dtype=np.uint16))
    kinds: dict[str, list[tuple[Image.Image, dict[str, object]]]] = {
        "JPEG": [
            (rgba.convert("RGB"), {"exif": exif}),
            (rgba.convert("RGB"), {"progressive": True}),
            (rgba.convert("CMYK"), {}),
        ],
        "PNG": [(rgba, {}), (rgba.convert("P"), {"transparency": 3}), (deep, {})],
        "WEBP": [(rgba, {"lossless": True}), (rgba, {"exif": exif}), (rgba.convert("RGB"), {})],
        "BMP": [(rgba.convert("RGB"), {}), (rgba.convert("P"), {}), (rgba.convert("1"), {})],
        "GIF": [(rgba.convert("P"), {}), (rgba.convert("P"), {"save_all": True, "append_images": [rgba.convert("P")]})],
        "TIFF": [(rgba, {"compression": "tiff_lzw"}), (deep, {}), (Image.new("F", (64, 48), 0.5), {})],
        "PPM": [(rgba.convert("RGB"), {}), (rgba.convert("L"), {}), (rgba.convert("1"), {})],
        "AVIF": [(rgba, {}), (rgba.convert("RGB"), {})],
        "JPEG2000": [(rgba, {}), (rgba.convert("L"), {"irreversible": True})],
    }
    for kind in kinds.keys() & set(known_formats()):
        for image, settings in kinds[kind]:
            buffer = io.BytesIO()
            image.save(buffer, kind, **settings)
            yield kind, buffer.getvalue()


def damaged(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """The file with one to five accidents, more often near its beginning, where sizes and offsets are."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 5)):
        at = int(len(found) * rng.random() ** rng.choice((1, 4)))
        length = rng.choice((1, 1, 2, 4, 16, 200))
        what = rng.randrange(7)
        if what == 0:
            found[at : at + 1] = bytes([rng.randrange(256)])
        elif what == 1:
            found[at : at + length] = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * length
        elif what == 2:
            found[at : at + length] = b""
        elif what == 3:
            found[at:at] = rng.randbytes(length)
        elif what == 4:
            found[at:at] = found[at : at + 50 * length]
        elif what == 5:
            found[at:] = b""
        else:
            other = rng.choice(others)
            found[at:] = other[int(len(other) * rng.random()) :]
    return bytes(found)


def peak_mb(server: Server) -> float | None:
    file = Path(f"/proc/{server.process.pid}/status")
    found = re.search(r"VmHWM:\s+(\d+)", file.read_text()) if file.exists() else None
    return int(found[1]) / 1024 if found else None


@pytest.mark.slow
def test_damaged_files_of_every_format(tmp_path: Path) -> None:
    server = Server(
        f"model={write_model(tmp_path / 'model.onnx')}", f"max_megapixels={MAX_MEGAPIXELS}", "decode_megapixels=8"
    )
    files = sorted(seeds())
    kinds = Counter(kind for kind, _ in files)
    assert len(kinds) >= 7 and set(kinds) <= set(known_formats())
    try:
        sound = server.predict(*[(f"{i}.{kind}", data) for i, (kind, data) in enumerate(files)])
        assert sound.status == 200 and not any("error" in result for result in sound.json["results"])
        before, rng, answered, refused = peak_mb(server), random.Random(0), Counter[str](), Counter[str]()
        others, deadline, turn = [data for _, data in files], time.monotonic() + SECONDS, 0
        while time.monotonic() < deadline:
            chosen = [files[(turn + i) % len(files)] for i in range(TOGETHER)]
            turn += TOGETHER
            reply = server.predict(*[(kind, damaged(data, rng, others)) for kind, data in chosen])
            assert reply.status in (200, 422), (turn, reply)
            for (kind, _), result in zip(chosen, reply.json["results"], strict=True):
                assert result["name"] == kind
                if "error" in result:
                    assert result["error"] and "object at 0x" not in result["error"], result
                    refused[kind] += 1
                else:
                    assert result["prediction"] in NAMES, result
                    answered[kind] += 1
            assert server.process.poll() is None
        assert all(answered[kind] and refused[kind] for kind in kinds), (answered, refused)
        assert server.ask("GET", "/health").status == 200 and server.metric("serve_pending_images") == 0
        if before is not None:
            after = peak_mb(server)
            assert after is not None and after - before < MOST_MB, (before, after)
        assert "Traceback" not in server.log
        print(f"{turn} files, answered: {dict(answered)}, refused: {dict(refused)}, MB: {before} to {peak_mb(server)}")
        assert server.stop() == 0
    finally:
        server.process.kill()
        server.process.wait()

"""A running src.serve, what asks it, and an exported file that it may serve."""

import contextlib
import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save_model
from PIL import Image

from src.settings.project import PROJECT_ROOT

NAMES = ["red", "green", "blue"]
PREPROCESSING = {"resize_px": 36, "crop_px": 32, "interpolation": "bilinear", "mean": [0, 0, 0], "std": [1, 1, 1]}
METADATA: dict[str, Any] = {
    "format_version": 1, "task": "classification", "class_names": NAMES, "preprocessing": PREPROCESSING,
    "temperature": 1.0, "ood_score_p99": -3.0, "backbone": "mean_colour",
}  # fmt: skip


def write_onnx(file: Path, slow: int = 0, **metadata: Any) -> Path:
    """A conforming file whose class is the strongest of an image's mean colours.

    It fails on white images, as a real model does where its device fails, and takes `slow` products of matrices.
    """
    regression = metadata.get("task") == "regression"
    first, second = ("values", "ood_score") if regression else ("probabilities", "ood_score")
    constants = {
        "axes": np.array([2, 3]),
        "one": np.array([1]),
        "scale": np.float32(1 / 25.5),
        "white": np.float32(250),
    }
    constants |= {"table": np.zeros(3, np.float32), "far": np.array(10), "zero": np.float32(0)}
    constants |= {"wide": np.ones((3, 1500), np.float32), "square": np.ones((1500, 1500), np.float32)}
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean_N3"], keepdims=0),
        helper.make_node("ReduceMin", ["mean_N3", "one"], ["darkest_N"], keepdims=0),
        helper.make_node("Greater", ["darkest_N", "white"], ["is_white_N"]),
        helper.make_node("Cast", ["is_white_N"], ["index_N"], to=TensorProto.INT64),
        helper.make_node("Mul", ["index_N", "far"], ["far_N"]),
        helper.make_node("Gather", ["table", "far_N"], ["nothing_N"]),  # out of bounds for white images
        helper.make_node("Mul", ["mean_N3", "scale"], ["logits_N3"]),
        helper.make_node("MatMul", ["mean_N3", "wide"], ["work_0"]),
        *(helper.make_node("MatMul", [f"work_{i}", "square"], [f"work_{i + 1}"]) for i in range(slow)),
        helper.make_node("ReduceMax", [f"work_{slow}", "one"], ["work_N"], keepdims=0),
        helper.make_node("Min", ["work_N", "zero"], ["worked_N"]),
        helper.make_node("ReduceLogSumExp", ["logits_N3", "one"], ["energy_N"], keepdims=0),
        helper.make_node("Neg", ["energy_N"], ["score_N"]),
        helper.make_node("Sum", ["score_N", "nothing_N", "worked_N"], [second]),
        helper.make_node("Identity", ["mean_N3"], [first])
        if regression
        else helper.make_node("Softmax", ["logits_N3"], [first], axis=1),
    ]
    outputs = [helper.make_tensor_value_info(first, TensorProto.FLOAT, ["N", 3])]
    outputs += [] if regression else [helper.make_tensor_value_info(second, TensorProto.FLOAT, ["N"])]
    graph = helper.make_graph(
        nodes, "mean_colour", [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 3, "H", "W"])], outputs,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {key: json.dumps(value) for key, value in (METADATA | metadata).items()})
    save_model(model, file)
    return file


# ------------------------------------------------------------------------------------------------- server and client


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """A running `python -m src.serve`."""

    def __init__(self, *arguments: str, path: Path | None = None) -> None:
        environ = {**os.environ, "PYTHONPATH": str(path) if path else "", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "src.serve", "port=0", *arguments],
            cwd=PROJECT_ROOT, env=environ, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.log, self.port = "", 0
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log += line
            if found := re.search(r"Listening on http://127.0.0.1:(\d+)", line):
                self.port = int(found[1])
                break
        assert self.port, self.log
        threading.Thread(target=self.read_log, daemon=True).start()

    def read_log(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.log += line

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        chunked = body is not None and not isinstance(body, bytes)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named, encode_chunked=chunked)
        response = connection.getresponse()
        reply = Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        connection.close()
        assert b"Traceback" not in reply.body
        return reply

    def predict(self, *files: tuple[str, bytes]) -> Reply:
        body = b"".join(
            b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n%s\r\n' % (name.encode(), data)
            for name, data in files
        )
        return self.ask("POST", "/predict", body + b"--xyz--\r\n", Content_Type="multipart/form-data; boundary=xyz")

    def metric(self, name: str) -> float:
        text = self.ask("GET", "/metrics").body.decode()
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if re.match(rf"{name}(\{{|$| )", line))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


StartServer = Callable[..., Server]


@contextlib.contextmanager
def servers() -> Iterator[StartServer]:
    """Starts as many as one asks for; they end with the context."""
    started: list[Server] = []

    def start(*arguments: str, **settings: Any) -> Server:
        started.append(Server(*arguments, **settings))
        return started[-1]

    yield start
    for server in started:
        server.process.kill()
        server.process.wait()


def encoded(color: Any, size: tuple[int, int] = (50, 40), kind: str = "PNG", mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, color).save(buffer, kind)
    return buffer.getvalue()


RED, GREEN, BLUE, WHITE = (encoded(color) for color in ((200, 10, 20), (10, 200, 20), (10, 20, 200), (255, 255, 255)))


def write_boxes_onnx(file: Path, masks: bool = False, **metadata: Any) -> Path:
    """As a file that finds objects: in an image that is not black, the class of the strongest colour in its upper left
    quarter (score 0.9), and `red` in its lower right one (score 0.4). `masks`: each has all pixels that are not black.
    """
    constants: dict[str, Any] = {
        "axes": np.array([0, 2, 3]), "zero": np.array([0]), "two": np.array([2]), "none": np.float32([10]),
        "scores_2": np.float32([0.9, 0.4]), "red": np.array([0]), "middle": np.float32([[0, 0, 1, 1], [1, 1, 2, 2]]),
    }  # fmt: skip
    constants |= {"halves": np.float32([0.5]), "one": np.array([1]), "as_two": np.array([2, 1, 1])}
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean_3"], keepdims=0),
        helper.make_node("ReduceMax", ["mean_3", "zero"], ["strongest_1"], keepdims=1),
        helper.make_node("Greater", ["strongest_1", "none"], ["any_1"]),
        helper.make_node("Expand", ["any_1", "two"], ["any_2"]),
        helper.make_node("Shape", ["images"], ["width_1"], start=3, end=4),
        helper.make_node("Shape", ["images"], ["height_1"], start=2, end=3),
        helper.make_node("Concat", ["width_1", "height_1", "width_1", "height_1"], ["sides_4"], axis=0),
        helper.make_node("Cast", ["sides_4"], ["sizes_4"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["sizes_4", "halves"], ["half_4"]),
        helper.make_node("Mul", ["middle", "half_4"], ["boxes_24"]),
        helper.make_node("ArgMax", ["mean_3"], ["class_1"], axis=0, keepdims=1),
        helper.make_node("Concat", ["class_1", "red"], ["labels_2"], axis=0),
        helper.make_node("Compress", ["boxes_24", "any_2"], ["boxes"], axis=0),
        helper.make_node("Compress", ["scores_2", "any_2"], ["scores"], axis=0),
        helper.make_node("Compress", ["labels_2", "any_2"], ["labels"], axis=0),
    ]
    outputs = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["M", 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["M"]),
        helper.make_tensor_value_info("labels", TensorProto.INT64, ["M"]),
    ]
    if masks:
        nodes += [
            helper.make_node("ReduceMax", ["float", "one"], ["brightest_1HW"], keepdims=0),
            helper.make_node("Greater", ["brightest_1HW", "none"], ["bright_1HW"]),
            helper.make_node("Cast", ["bright_1HW"], ["mask_1HW"], to=TensorProto.UINT8),
            helper.make_node("Expand", ["mask_1HW", "as_two"], ["masks_2HW"]),
            helper.make_node("Compress", ["masks_2HW", "any_2"], ["masks"], axis=0),
        ]
        outputs.append(helper.make_tensor_value_info("masks", TensorProto.UINT8, ["M", "H", "W"]))
        metadata = {"task": "instance_segmentation", **metadata}
    graph = helper.make_graph(
        nodes, "halves", [helper.make_tensor_value_info("images", TensorProto.UINT8, [1, 3, "H", "W"])], outputs,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    preprocessing = PREPROCESSING | {"resize_px": 32, "crop_px": 48, "resize_mode": "fit", "keeps_shape": True}
    found = {"task": "detection", "preprocessing": preprocessing, "thresholds": [0.5, 0.5, 0.5], "ood_score_p99": None}
    helper.set_model_props(model, {key: json.dumps(value) for key, value in (METADATA | found | metadata).items()})
    save_model(model, file)
    return file


def write_pixels_onnx(file: Path, **metadata: Any) -> Path:
    """As a file that says a class for each pixel: the strongest of its colours, and how strong that is."""
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ArgMax", ["float"], ["classes"], axis=1, keepdims=0),
        helper.make_node("Cast", ["classes"], ["mask"], to=TensorProto.UINT8),
        helper.make_node("ReduceMax", ["float", "axes"], ["strongest"], keepdims=0),
        helper.make_node("Mul", ["strongest", "scale"], ["confidence"]),
    ]
    sides = ["N", "H", "W"]
    outputs = [
        helper.make_tensor_value_info("mask", TensorProto.UINT8, sides),
        helper.make_tensor_value_info("confidence", TensorProto.FLOAT, sides),
    ]
    constants = {"axes": np.array([1]), "scale": np.float32(1 / 255)}
    graph = helper.make_graph(
        nodes, "colours", [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 3, "H", "W"])], outputs,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    preprocessing = PREPROCESSING | {"resize_px": 32, "crop_px": 48, "resize_mode": "fit", "keeps_shape": True}
    found = {"task": "segmentation", "preprocessing": preprocessing, "ood_score_p99": None}
    helper.set_model_props(model, {key: json.dumps(value) for key, value in (METADATA | found | metadata).items()})
    save_model(model, file)
    return file

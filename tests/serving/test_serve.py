"""src.serve: the real command as a process, asked over real connections, with images good and bad."""

import csv
import http.client
import io
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Answer, Run, run_train
from PIL import Image
from support.serving import (
    BLUE,
    GREEN,
    METADATA,
    NAMES,
    RED,
    WHITE,
    Server,
    StartServer,
    encoded,
    servers,
    write_onnx,
)
from support.slow import one_in
from torchvision.transforms.v2.functional import center_crop

from src.data.decode import UnreadableImage, read_rgb
from src.data.transforms import evaluation_transform
from src.models.preprocessing import Preprocessing
from src.serving.models import CheckpointModel, load_model
from src.serving.pixels import read_pixels
from src.settings.project import PROJECT_ROOT


@pytest.fixture(scope="module")
def start() -> Iterator[StartServer]:
    with servers() as start:
        yield start


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_onnx(tmp_path_factory.mktemp("serve") / "model.onnx")


@pytest.fixture(scope="module")
def server(onnx_file: Path, start: StartServer, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Without torch: whoever imports it here fails."""
    no_torch = tmp_path_factory.mktemp("no_torch")
    (no_torch / "torch.py").write_text("raise ImportError('torch is not needed here')")
    return start(
        f"model={onnx_file}", "max_upload_mb=1", "max_images=4", "max_megapixels=4",
        path=no_torch,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ answers


def test_one_image_and_several(server: Server) -> None:
    reply = server.ask("POST", "/predict?name=a.png", RED, Content_Type="image/png")
    assert reply.status == 200 and reply.headers["content-type"] == "application/json"
    (result,) = reply.json["results"]
    assert result["name"] == "a.png" and result["prediction"] == "red" and [*result["probabilities"]][:1] == ["red"]
    assert sum(result["probabilities"].values()) == pytest.approx(1, abs=1e-5) and len(result["probabilities"]) == 3
    logits = np.array([200, 10, 20]) / 25.5
    assert result["confidence"] == pytest.approx(np.exp(logits[0]) / np.exp(logits).sum(), abs=1e-5)
    assert result["ood_score"] == pytest.approx(-np.log(np.exp(logits).sum()), abs=1e-3)
    reply = server.predict(("g.png", GREEN), ("bad.png", b"\x89PNG nothing"), ("b.png", BLUE))
    first, bad, last = reply.json["results"]
    assert reply.status == 200 and [first["name"], bad["name"], last["name"]] == ["g.png", "bad.png", "b.png"]
    assert first["prediction"] == "green" and last["prediction"] == "blue" and list(bad) == ["name", "error"]


def test_facts_health_metrics_and_page(server: Server) -> None:
    facts = server.ask("GET", "/model").json
    assert (
        facts["class_names"] == NAMES
        and facts["preprocessing"] == METADATA["preprocessing"]
        and facts["temperature"] == 1.0
    )
    assert facts["limits"]["max_images"] == 4 and facts["ood_score_p99"] == -3.0
    health = server.ask("GET", "/health")
    assert health.status == 200 and health.json["status"] == "ready" and health.json["classes"] == 3
    before = server.metric("serve_images_total")
    server.predict(("a.png", RED), ("b.png", RED), ("c.txt", b"text"))
    assert server.metric("serve_images_total") == before + 2 and server.metric("serve_unreadable_images_total") >= 1
    page = server.ask("GET", "/")
    text, policy = page.body.decode(), page.headers["content-security-policy"]
    assert page.status == 200 and "default-src 'none'" in policy and "'sha256-" in policy
    assert not re.search(r"""(src|href)=["']?(https?:)?//|innerHTML|document\.write""", text)


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("a truncated JPEG", encoded((9, 9, 9), (300, 300), "JPEG")[:600]),
        ("a bomb", encoded(0, (20000, 20000), "PNG", "1")),
        ("a large image", encoded(0, (3000, 2000), "PNG", "1")),
        ("a thin image", encoded(0, (1, 60000), "PNG", "1")),
        ("a text", b"hello"),
        ("an empty file", b""),
        ("another program's language", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"),
    ],
)
def test_hostile_images_get_an_error(server: Server, what: str, data: bytes) -> None:
    name = "<img src=x onerror=alert(1)>.png"
    reply = server.predict((name, data))
    assert reply.status == 422 and reply.json["results"][0]["name"] == name
    error = reply.json["results"][0]["error"]
    assert error and "object at 0x" not in error and "/" not in error
    if what == "another program's language":
        assert error == "cannot identify image file"
    if what == "a large image":
        assert error == "3000 x 2000 pixels are more than max_megapixels=4"
    assert server.predict(("good.png", BLUE)).json["results"][0]["prediction"] == "blue"


def test_requests_that_are_refused(server: Server) -> None:
    form = "multipart/form-data; boundary=xyz"
    many = server.predict(*[(f"{i}.png", RED) for i in range(5)])
    assert many.status == 413 and many.json["error"] == "More than max_images=4 images."
    large = server.ask("POST", "/predict", bytes(1_100_000), Content_Type="image/png")
    assert large.status == 413 and large.json["error"] == "The request is larger than max_upload_mb=1."
    for body, kind, status, text in (
        (b"{}", "application/json", 415, "Content-Type application/json is not accepted"),
        (b"", "image/png", 400, "no image"),
        (b"--xyz--\r\n", form, 400, "no image"),
        (b"garbage", form, 400, "cannot be read"),
        (b"--xyz\r\nNonsense\r\n\r\nx\r\n--xyz--\r\n", form, 400, "cannot be read"),
        (b"x", "multipart/form-data", 400, "Missing boundary"),
        (b"--xyz\r\n" + b"x" * 900_000, form, 400, "cannot be read"),
        (b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' * 200, form, 400, "Too many fields"),
    ):
        reply = server.ask("POST", "/predict", body, Content_Type=kind)
        assert reply.status == status and text in reply.json["error"], (kind, reply)
    assert server.ask("GET", "/predict").status == 405 and server.ask("GET", "/nothing").json == {"error": "Not Found"}


def test_a_large_upload_is_cut_off_while_it_streams(server: Server) -> None:
    """Its length is not announced, so that only counting can tell; and the server does not wait for its end."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(12):
            connection.sendall(b"186a0\r\n" + bytes(100_000) + b"\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")


@pytest.mark.slow
def test_an_upload_that_stalls_is_given_up(onnx_file: Path, start: StartServer) -> None:
    server = start(f"model={onnx_file}", "timeout_seconds=1")
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 99\r\n\r\nx"
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:  # goes away in the middle
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 99\r\n\r\nx"
        )
    assert server.predict(("a.png", RED)).status == 200
    deadline = time.monotonic() + 30
    while server.ask("GET", "/health").json["pending"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.ask("GET", "/health").json["pending"] == 0


def test_an_error_inside_is_told_without_its_traceback(onnx_file: Path, start: StartServer) -> None:
    server = start(f"model={onnx_file}")
    reply = server.predict(("white.png", WHITE))
    assert reply.status == 500 and reply.json == {"error": "The service failed; its log says why."}
    assert server.ask("GET", "/health").status == 503 and server.ask("GET", "/health").json["status"] == "failing"
    assert server.predict(("red.png", RED)).json["results"][0]["prediction"] == "red"
    assert server.ask("GET", "/health").status == 200
    server.stop()
    assert "A batch of 1 image could not be computed" in server.log


# --------------------------------------------------------------------------------------------------------- under load


def test_an_answer_does_not_wait_for_the_network(server: Server) -> None:
    """With Nagle's algorithm every answer on a connection that stays open takes 40 ms, whatever the model."""
    connection, seconds = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60), []
    for _ in range(20):
        start = time.perf_counter()
        connection.request("POST", "/predict", RED, {"Content-Type": "image/png"})
        assert connection.getresponse().read()
        seconds.append(time.perf_counter() - start)
    connection.close()
    assert min(seconds) < 0.035


def test_images_that_arrive_together_are_computed_together(onnx_file: Path, start: StartServer) -> None:
    server = start(f"model={onnx_file}", "batch_size=8", "batch_wait_ms=50")
    colors = {"red": RED, "green": GREEN, "blue": BLUE}
    asked = [list(colors)[i % 3] for i in range(96)]
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda color: server.predict((f"{color}.png", colors[color])), asked))
    assert [reply.json["results"][0]["prediction"] for reply in replies] == asked
    assert server.metric("serve_images_total") == 96
    assert server.metric("serve_batch_images_count") <= 48 and server.metric("serve_requests_total") == 96
    assert server.metric("serve_batch_images_sum") == 96 and server.metric("serve_pending_images") == 0


def test_overload_is_refused_and_told_when_to_come_back(start: StartServer, tmp_path: Path) -> None:
    slow = write_onnx(tmp_path / "slow.onnx", slow=40)
    server = start(f"model={slow}", "max_pending=4", "max_images=4", "batch_size=1", "batch_wait_ms=0")
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda _: server.predict(("red.png", RED)), range(48)))
    statuses = [reply.status for reply in replies]
    assert set(statuses) == {200, 503} and statuses.count(200) >= 4
    busy = next(reply for reply in replies if reply.status == 503)
    assert busy.headers["retry-after"] == "1" and "Busy" in busy.json["error"]
    assert all(reply.json["results"][0]["prediction"] == "red" for reply in replies if reply.status == 200)
    assert server.predict(("red.png", RED)).status == 200  # and afterwards it is as before
    assert server.metric("serve_requests_total") == 49 and server.metric("serve_pending_images") == 0


def test_sigterm_answers_what_is_there_and_ends_with_status_0(start: StartServer, tmp_path: Path) -> None:
    server = start(f"model={write_onnx(tmp_path / 'slow.onnx', slow=200)}", "batch_wait_ms=0")
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(server.predict, ("red.png", RED))
        while server.ask("GET", "/health").json["pending"] == 0 and not reply.done():
            time.sleep(0.01)
        assert server.stop() == 0
        assert reply.result().status == 200
    time.sleep(0.1)
    assert "Stopped." in server.log and "Traceback" not in server.log


# ------------------------------------------------------------------------------------- the same answers as src.predict


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("resize_px", "crop_px"), [(36, 32), (37, 32), (32, 32), (47, 24)])
def test_pixels_are_those_of_the_evaluation(resize_px: int, crop_px: int, interpolation: str) -> None:
    """Also with the margin that an exported model crops off by itself, as torchvision's CenterCrop does."""
    preprocessing = Preprocessing(resize_px, crop_px, interpolation, (0, 0, 0), (1, 1, 1))
    rng = np.random.default_rng(0)
    for width, height in ((50, 40), (41, 67), (33, 34), (20, 20), (99, 31), (300, 401)):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(buffer, "JPEG")
        wanted = evaluation_transform(preprocessing)(read_rgb(io.BytesIO(buffer.getvalue()), resize_px)).numpy()
        assert np.array_equal(read_pixels(buffer, preprocessing, crop_px, 50)[0], wanted)
        margin = torch.from_numpy(read_pixels(buffer, preprocessing, resize_px, 50)[0])
        assert margin.shape == (3, resize_px, resize_px)
        assert np.array_equal(center_crop(margin, [crop_px, crop_px]).numpy(), wanted)


def test_exif_is_heeded_and_large_images_are_refused() -> None:
    image = Image.new("RGB", (40, 20), "red")
    exif = image.getexif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    preprocessing = Preprocessing(10, 10, "bilinear", (0, 0, 0), (1, 1, 1))
    pixels, size_wh = read_pixels(buffer, preprocessing, 10, 50)
    assert pixels.shape == (3, 10, 10) and size_wh == (20, 40)
    with pytest.raises(UnreadableImage, match=r"40 x 20 pixels are more than max_megapixels=0\.0001"):
        read_pixels(buffer, preprocessing, 10, 1e-4)


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def predicted(command: Any, run: Path, images: Path, tmp_path: Path, *more: str) -> list[dict[str, str]]:
    output = tmp_path / "predictions.csv"
    answer: Answer = command("predict", f"ckpt={run}", f"images={images}", f"output={output}", "accelerator=cpu", *more)
    assert answer.status == 0, answer.err
    return rows_of(output)


@pytest.mark.slow  # a process that imports torch; in this one test_golden.py asks such a service
def test_a_served_checkpoint_answers_as_predict_does(
    colors: Path, colors_run: Run, command: Any, start: StartServer, tmp_path: Path
) -> None:
    rows = predicted(command, colors_run.directory, colors, tmp_path, "abstain_below=0.9")
    server = start(f"ckpt={colors_run.directory}", "abstain_below=0.9", "top_k=2", "accelerator=cpu")
    for first in range(0, len(rows), 20):
        part = rows[first : first + 20]
        reply = server.predict(*[(row["path"], Path(row["path"]).read_bytes()) for row in part])
        for row, result in zip(part, reply.json["results"], strict=True):
            assert result["name"] == row["path"] and (result["prediction"] or "") == row["prediction"]
            assert result["confidence"] == pytest.approx(float(row["confidence"]), abs=2e-6)
            assert result["ood_score"] == pytest.approx(float(row["ood_score"]), abs=2e-4)
            assert len(result["probabilities"]) == 2
            for name, share in result["probabilities"].items():
                assert share == pytest.approx(float(row[f"prob:{name}"]), abs=2e-6)
    assert server.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), [("onnx", "model.onnx"), ("torch", "model.pt2")])
def test_an_exported_file_is_served_as_predict_answers(
    kind: str, name: str, colors: Path, colors_run: Run, command: Any, start: StartServer, tmp_path: Path
) -> None:
    """From the real exporter through the real service."""
    rows = predicted(command, colors_run.directory, colors, tmp_path)
    answer: Answer = command("export", f"ckpt={colors_run.directory}", f"format={kind}", f"output={tmp_path}/{name}")
    assert answer.status == 0, answer.err
    server = start(f"model={tmp_path}/{name}", "accelerator=cpu")
    reply = server.predict(*[(row["path"], Path(row["path"]).read_bytes()) for row in rows[:20]])
    for row, result in zip(rows[:20], reply.json["results"], strict=True):
        assert result["prediction"] == row["prediction"]
        assert result["ood_score"] == pytest.approx(float(row["ood_score"]), abs=1e-2)
        for label, share in result["probabilities"].items():
            assert share == pytest.approx(float(row[f"prob:{label}"]), abs=1e-3)
    assert server.stop() == 0


@pytest.mark.slow  # below are their answers from files
def test_several_classes_and_numbers_as_predict_does(colors: Path, command: Any, tmp_path: Path) -> None:
    """The same through the parts of the service, without a process each."""
    paths = sorted(colors.rglob("*.png")) + sorted(colors.rglob("*.jpg"))
    for task, label in (("multilabel", lambda path: path.parent.name), ("regression", lambda path: len(path.stem))):
        table = tmp_path / f"{task}.csv"
        lines = [f"{path},{label(path)}" for path in paths]
        table.write_text("\n".join(["path,label", *lines]) + "\n")
        run = run_train(
            tmp_path / task, f"task={task}", f"data.file={table}", "trainer.max_epochs=1", "data.image_size_px=32",
            "test=false",
        )  # fmt: skip
        rows = predicted(command, run.directory, table, tmp_path)
        model = load_model(str(run.directory), None, "cpu")
        assert isinstance(model, CheckpointModel) and model.facts.task == task
        images = [read_pixels(path.open("rb"), model.facts.preprocessing, 32, 50) for path in paths]
        outputs = model.compute(*zip(*images, strict=True))
        for row, result in zip(rows, model.answers(outputs), strict=True):
            if task == "regression":
                assert result == {"values": {"label": pytest.approx(float(row["predicted:label"]), rel=1e-4)}}
                continue
            assert ";".join(result["prediction"]) == row["prediction"]
            assert result["probabilities"]["red"] == pytest.approx(float(row["prob:red"]), abs=2e-6)


def test_exported_program_with_torch_alone(tmp_path: Path) -> None:
    class MeanColour(torch.nn.Module):
        def forward(self, images_N3HW: torch.Tensor) -> dict[str, torch.Tensor]:
            logits_N3 = images_N3HW.float().mean(dim=(2, 3)) / 25.5
            return {"probabilities": logits_N3.softmax(dim=1), "ood_score": -logits_N3.logsumexp(dim=1)}

    several = torch.export.Dim("images", min=1, max=64)
    example = torch.zeros(2, 3, 36, 36, dtype=torch.uint8)
    program = torch.export.export(MeanColour(), (example,), dynamic_shapes=({0: several},))
    torch.export.save(program, tmp_path / "model.pt2", extra_files={"finetune.json": json.dumps(METADATA)})
    model = load_model(None, str(tmp_path / "model.pt2"), "auto")
    pixels, size_wh = read_pixels(io.BytesIO(GREEN), model.facts.preprocessing, model.size_px, 50)
    first, second = model.answers(model.compute([pixels, pixels], [size_wh, size_wh]))
    assert first == second and first["prediction"] == "green" and first["ood_score"] < -7


def test_multilabel_regression_and_abstaining(tmp_path: Path) -> None:
    grey = [np.full((3, 36, 36), 100, np.uint8)], [(36, 36)]
    several = load_model(
        None, str(write_onnx(tmp_path / "a.onnx", task="multilabel", thresholds=[0.3, 0.3, 0.4])), "cpu"
    )
    assert several.answers(several.compute(*grey))[0]["prediction"] == ["red", "green"]
    numbers = load_model(None, str(write_onnx(tmp_path / "b.onnx", task="regression")), "cpu")
    assert numbers.answers(numbers.compute(*grey)) == [{"values": {"red": 100.0, "green": 100.0, "blue": 100.0}}]
    one = load_model(None, str(write_onnx(tmp_path / "c.onnx")), "cpu")
    (answer,) = one.answers(one.compute(*grey), abstain_below=0.5, top_k=1)
    assert answer["prediction"] is None and answer["confidence"] == pytest.approx(1 / 3, abs=1e-5)
    assert list(answer["probabilities"]) == ["red"]


# ----------------------------------------------------------------------------------------------------------- mistakes


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what can be given, most of it in vain."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "run").mkdir()
    for name in ("notes.txt", "text.onnx", "text.pt2"):
        (folder / name).write_text("text")
    write_onnx(folder / "m.onnx")
    write_onnx(folder / "newer.onnx", format_version=2)
    write_onnx(folder / "foreign.onnx", class_names=None, preprocessing=None)
    write_onnx(folder / "classes.onnx", class_names=[*NAMES, "grey"])
    write_onnx(folder / "numbers.onnx", task="regression")
    return folder


@pytest.mark.parametrize(
    ("arguments", "text"),
    one_in(
        3,
        [
            ([], "Give either ckpt=<run dir or .ckpt> or model="),
            (["model=m.onnx", "ckpt=m.onnx"], "not both"),
            (["ckpt=m.onnx"], "is an exported file: give model=m.onnx"),
            (["model=run"], "is a run or a checkpoint: give ckpt=run"),
            (["model=notes.txt"], "neither an .onnx nor a .pt2 file"),
            (["model=none.onnx"], "model='none.onnx' does not exist"),
            (["model=text.onnx"], "model='text.onnx' cannot be read by onnxruntime"),
            (["model=text.pt2"], "model='text.pt2' cannot be read by torch.export.load"),
            (["model=foreign.onnx"], "was not written by python -m src.export"),
            (["model=newer.onnx"], "has the format version 2"),
            (["model=classes.onnx"], "where its class names ask for (1, 4)"),
            (["model=m.onnx", "accelerator=gpu"], "onnxruntime has no such device"),
            (["model=numbers.onnx", "abstain_below=0.5"], "leave it null"),
            (["model=m.onnx", "port=70000"], "port=70000 is out of range"),
            (["model=m.onnx", "host=192.0.2.1"], "is no address of this machine"),
            (["model=m.onnx", "max_pending=3"], "max_images=32 is more than max_pending=3"),
            (["model=m.onnx", "prot=80"], "Did you mean 'port'?"),
        ],
    ),
)
def test_mistakes(files: Path, monkeypatch: pytest.MonkeyPatch, command: Any, arguments: list[str], text: str) -> None:
    monkeypatch.chdir(files)
    answer: Answer = command("serve", *arguments)
    assert answer.status == 1 and text in answer.err and "Traceback" not in answer.err


def test_a_port_in_use(tmp_path: Path, command: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer: Answer = command("serve", f"model={write_onnx(tmp_path / 'm.onnx')}", f"port={port}")
    assert answer.status == 1 and f"port={port} is in use already" in answer.err


@pytest.mark.parametrize(
    ("package", "setting", "text"),
    [
        ("starlette", "model=m.onnx", "needs the package starlette, which is not installed: uv sync --extra serve"),
        ("torch", "model=m.pt2", "model=m.pt2 needs the package torch, which is not installed"),
    ],
)
def test_a_missing_package(tmp_path: Path, package: str, setting: str, text: str) -> None:
    (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('no', name='{package}')")
    for name in ("m.onnx", "m.pt2"):
        (tmp_path / name).write_bytes(b"unread")
    environ = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT_ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", "src.serve", setting], cwd=tmp_path, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 1 and text in done.stderr and "Traceback" not in done.stderr

"""src.serve against what keeps others out: silent connections, pages of other sites, a computing thread that ends."""

import asyncio
import io
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Answer
from PIL import Image
from starlette.datastructures import Headers
from support.serving import RED, WHITE, Server, StartServer, servers, write_onnx

from src.serving.app import Service
from src.serving.batching import Batcher, ComputeError
from src.serving.metrics import ServiceMetrics
from src.serving.models import load_model
from src.serving.origins import OwnSiteOnly
from src.serving.pixels import DecodingBudget
from src.serving.uploads import Limits


@pytest.fixture(scope="module")
def start() -> Iterator[StartServer]:
    with servers() as start:
        yield start


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_onnx(tmp_path_factory.mktemp("abuse") / "model.onnx")


@pytest.fixture(scope="module")
def server(onnx_file: Path, start: StartServer) -> Server:
    return start(f"model={onnx_file}", "timeout_seconds=1", "max_connections=20")


# -------------------------------------------------------------------------------------------------------- connections


def connect(server: Server, *sent: bytes) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(10)
    connection.connect(("127.0.0.1", server.port))
    for data in sent:
        connection.sendall(data)
    return connection


def received_until_cut(connection: socket.socket, trickle: bytes = b"") -> bytes:
    """All that comes until the server ends the connection; fails if it does not within some seconds."""
    received, deadline = bytearray(), time.monotonic() + 8
    connection.settimeout(0.2)
    while time.monotonic() < deadline:
        try:
            if trickle:
                connection.sendall(trickle)
            if not (part := connection.recv(1 << 16)):
                return bytes(received)
            received += part
        except TimeoutError:
            continue
        except ConnectionError:
            return bytes(received)
    raise AssertionError("the connection is still open")


REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
UPLOAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999\r\n\r\n"
WAITING = [  # what is sent at once, and then again and again
    (b"", b""),  # says nothing
    (REQUEST, b"X: y\r\n"),  # headers without an end
    (REQUEST + b"\r\n", b""),  # no second request
    (REQUEST + b"\r\n", b"G"),  # a second one that never ends
    (REQUEST + b"Content-Length: 999999\r\n\r\n", b"x"),  # a body after the answer
    (UPLOAD, b"x"),  # an upload, drop by drop
]


@pytest.mark.slow
def test_connections_that_keep_us_waiting_are_cut(server: Server) -> None:
    """All at once, since each takes its second."""

    def until_cut(sent: bytes, trickle: bytes) -> bytes:
        with connect(server, sent) as connection:
            return received_until_cut(connection, trickle)

    with ThreadPoolExecutor(len(WAITING)) as pool:
        for received in pool.map(until_cut, *zip(*WAITING, strict=True)):
            assert not received or received.startswith((b"HTTP/1.1 200", b"HTTP/1.1 408", b"HTTP/1.1 400"))
    assert server.ask("GET", "/health").status == 200


@pytest.mark.slow
def test_who_does_not_read_the_answers_is_cut(server: Server) -> None:
    """A thousand pages are asked for, which fit neither what we keep for a client nor what the system does."""
    with connect(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000) as connection:
        time.sleep(2.5)
        assert received_until_cut(connection).count(b"HTTP/1.1 200") < 1000
    assert server.ask("GET", "/health").status == 200


def answers(server: Server) -> bool:
    try:
        return server.predict(("a.png", RED)).status == 200
    except ConnectionError:  # refused before all was sent
        return False


@pytest.mark.slow
def test_silent_connections_make_room(onnx_file: Path, start: StartServer) -> None:
    """Many more than there may be: the idle ones go first, at once, and the log says so once."""
    server = start(f"model={onnx_file}", "max_connections=8")
    silent = [connect(server) for _ in range(60)]
    assert server.ask("GET", "/health").status == 200 and server.predict(("a.png", RED)).status == 200
    uploading = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 99\r\n\r\nx"
    busy = [connect(server, uploading) for _ in range(8)]
    deadline = time.monotonic() + 10
    while answers(server) and time.monotonic() < deadline:  # until all eight are seen
        busy.append(connect(server, uploading))
    with connect(server) as connection:
        refused = received_until_cut(connection)
    head, _, body = refused.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503") and b"Retry-After: 1" in head and "Busy" in json.loads(body)["error"]
    for connection in silent + busy:
        connection.close()
    deadline = time.monotonic() + 10
    while server.ask("GET", "/health").status != 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.predict(("a.png", RED)).status == 200
    assert server.log.count("There are more than 8 connections") == 1 and server.stop() == 0


def test_file_names_do_not_reach_the_log_as_they_are(onnx_file: Path, start: StartServer) -> None:
    server = start(f"model={onnx_file}")
    name = "a\x1b[31m\x07.png"
    assert server.predict((name, RED)).json["results"][0]["name"] == name
    assert server.predict((name, b"text")).json["results"][0]["name"] == name
    assert server.predict((name, WHITE)).status == 500
    server.stop()
    assert "\x1b[31m" not in server.log and "\x07" not in server.log


# ---------------------------------------------------------------------------------------------- pages of other sites


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {"Host": "evil.example"}, 421),  # DNS rebinding: its own name, which now means this machine
        ("GET", {"Host": "evil.example:8000"}, 421),
        ("GET", {"Host": "127.0.0.1.evil.example"}, 421),
        ("GET", {"Host": "192.168.1.5"}, 421),
        ("GET", {"Host": "[::1].evil.example"}, 421),
        ("GET", {"Host": "localhost:80@evil.example"}, 421),
        ("GET", {"Host": "localhost:80"}, 200),
        ("GET", {"Host": "LOCALHOST."}, 200),
        ("GET", {"Host": "127.8.9.10"}, 200),
        ("GET", {"Host": "[::1]:8000"}, 200),
        ("GET", {"Host": socket.gethostname()}, 200),
        ("GET", {"Sec-Fetch-Site": "cross-site"}, 200),  # a link to the page
        ("POST", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("POST", {"Origin": "http://evil.example"}, 403),
        ("POST", {"Origin": "null"}, 403),
        ("POST", {"Origin": "http://localhost.evil.example"}, 403),
        ("POST", {"Sec-Fetch-Site": "same-site", "Origin": "http://evil.example"}, 403),
        ("POST", {"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 200),
        ("POST", {"Origin": "http://localhost:3000"}, 200),
        ("POST", {"Origin": "http://[::1]:3000"}, 200),
        ("POST", {}, 200),
    ],
)
def test_only_our_own_site_is_answered(server: Server, method: str, headers: dict[str, str], status: int) -> None:
    named = {key.replace("-", "_"): value for key, value in headers.items()}
    if method == "GET":
        reply = server.ask("GET", "/model", **named)
    else:
        reply = server.ask("POST", "/predict", RED, Content_Type="image/png", **named)
    assert reply.status == status
    if status != 200:
        assert list(reply.json) == ["error"] and reply.json["error"]


@pytest.mark.parametrize(
    ("hosts", "headers", "status"),
    [
        (None, {"Host": "models.example.org"}, None),
        (None, {"Host": "models.example.org", "Origin": "http://models.example.org"}, None),
        (None, {"Host": "models.example.org", "Origin": "http://evil.example"}, 403),
        (None, {"Host": "models.example.org", "Sec-Fetch-Site": "cross-site"}, 403),
        (["Models.Example.org"], {"Host": "models.example.org:8000"}, None),
        (["models.example.org"], {"Host": "other.example.org"}, 421),
        (["models.example.org"], {"Host": "127.0.0.1:8000"}, None),
        (["models.example.org"], {"Host": "127.0.0.1:8000", "Origin": "https://models.example.org"}, None),
        (["fd00::5"], {"Host": "[fd00::5]:8000"}, None),
        (["models.example.org"], {}, None),
    ],
)
def test_hosts_of_a_service_for_others(hosts: list[str] | None, headers: dict[str, str], status: int | None) -> None:
    async def nothing(*_: object) -> None: ...

    refusal = OwnSiteOnly(nothing, hosts).refusal("POST", Headers(headers))
    assert (refusal and refusal.status_code) == status


@pytest.mark.parametrize("host", ["http://models.example.org", "models.example.org:80", "*.example.org", "a/b", ""])
def test_hosts_that_are_none(onnx_file: Path, command: Any, host: str) -> None:
    answer: Answer = command("serve", f"model={onnx_file}", f"allowed_hosts=['{host}']")
    assert answer.status == 1 and f"allowed_hosts has '{host}': give names or addresses alone" in answer.err


# --------------------------------------------------------------------------------------------- decoding and computing


def test_the_budget_is_kept_and_everybody_gets_a_turn() -> None:
    budget, taken, most, lock = DecodingBudget(1), 0, 0, threading.Lock()

    def decode(pixels: int) -> None:
        nonlocal taken, most
        with budget.share((pixels, 1)):
            with lock:
                taken += pixels
                most = max(most, taken)
            time.sleep(0.001)
            with lock:
                taken -= pixels

    with ThreadPoolExecutor(8) as pool:
        done, late = wait([pool.submit(decode, size) for size in [100_000, 300_000, 1_000_000] * 30], timeout=30)
    assert len(done) == 90 and not late and 600_000 < most <= 1_000_000
    with budget.share((9_000_000, 1)):  # more than there is: alone
        assert budget.taken == budget.total
    assert not budget.taken and not budget.waiting


@pytest.mark.slow
def test_memory_while_many_large_images_are_decoded(onnx_file: Path, start: StartServer) -> None:
    """Eight threads could take 900 MB for these, and keep much of it: they share the room for one."""
    server = start(f"model={onnx_file}", "max_megapixels=9", "decode_megapixels=9", "decode_threads=8")
    buffer = io.BytesIO()
    Image.new("RGBA", (3000, 3000), (200, 10, 20, 255)).save(buffer, "WEBP", lossless=True)
    status = Path(f"/proc/{server.process.pid}/status")
    before = peak_bytes(status)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: server.predict(("a.webp", buffer.getvalue())), range(8)))
    assert [reply.json["results"][0]["prediction"] for reply in replies] == ["red"] * 8
    assert peak_bytes(status) - before < 9e6 * 14 + 80e6


def peak_bytes(status: Path) -> int:
    """As Linux tells it; 0 elsewhere."""
    found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 if found else 0


@pytest.fixture
def parts(onnx_file: Path) -> Iterator[tuple[Service, Batcher]]:
    model = load_model(None, str(onnx_file), "cpu")
    metrics = ServiceMetrics(model.facts)
    batcher = Batcher(model, metrics, batch_size=1, wait_seconds=0)
    service = Service(model, batcher, metrics, Limits(1, 4, 4, 4, 16, 2, 8), 1)
    yield service, batcher
    service.close()


def health(service: Service) -> tuple[int, dict[str, Any]]:
    response = asyncio.run(service.health(None))  # type: ignore[arg-type]
    return response.status_code, json.loads(bytes(response.body))


PIXELS = np.full((3, 36, 36), 100, np.uint8)


class Stop:
    """In the place of class names: ends the program of whoever asks for one."""

    def __getitem__(self, _: int) -> str:
        raise SystemExit("stop")


def test_whatever_an_answer_raises_the_next_one_is_computed(parts: tuple[Service, Batcher]) -> None:
    service, batcher = parts
    facts = batcher.model.facts
    for wrong in ({"ood_score_p99": "x"}, {"class_names": Stop()}, {"task": "multilabel", "class_names": []}):
        batcher.model.facts = replace(facts, **wrong)
        with pytest.raises(ComputeError):
            batcher.submit(PIXELS, (36, 36)).result(timeout=10)
        batcher.model.facts = facts
        assert health(service)[0] == 503
        assert batcher.submit(PIXELS, (36, 36)).result(timeout=10)["prediction"] == "red"
        assert health(service)[0] == 200


def test_health_fails_when_nobody_computes_any_more(parts: tuple[Service, Batcher]) -> None:
    service, batcher = parts
    assert health(service)[0] == 200
    batcher.batch_size, batcher.wait_seconds = 2, "no number"  # type: ignore[assignment]
    waiting = [batcher.submit(PIXELS, (36, 36)) for _ in range(5)]
    done, late = wait(waiting, timeout=10)
    assert len(done) == 5 and not late and any(isinstance(future.exception(), ComputeError) for future in done)
    with pytest.raises(ComputeError):
        batcher.submit(PIXELS, (36, 36)).result(timeout=10)
    status, content = health(service)
    assert status == 503 and content["status"] == "failing" and "has ended" in content["reason"]


def test_health_fails_while_a_batch_does_not_end(parts: tuple[Service, Batcher]) -> None:
    service, batcher = parts
    batcher.computing_since = time.monotonic() - 60
    status, content = health(service)
    assert status == 503 and "more than timeout_seconds=2" in content["reason"]

"""Two processes that train together."""

import multiprocessing
import socket
from collections.abc import Callable
from pathlib import Path


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def run_two(target: Callable[[int, int, str, list[str]], None], folder: Path, common: list[str]) -> list[int | None]:
    """`target(rank, port, folder, common)` in two processes; their exit statuses."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["src.train", "src.build.task", "src.training.outcome", "conftest"])
    port = free_port()
    processes = [context.Process(target=target, args=(rank, port, str(folder), common)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(400)
        process.kill()
    return [process.exitcode for process in processes]

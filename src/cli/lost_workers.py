"""What to say when a process that reads images is lost: torch's own error tells neither why nor what helps."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from src.settings.errors import RunStopped, causes

LOST = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (?:is killed by signal: ([\w ]+)|exited unexpectedly)"
    r"|(unable to \w+ (?:shared memory|file </?torch_|to file </?torch_))"
)


@contextmanager
def lost_workers_told() -> Iterator[None]:
    """Turns torch's error about a worker that was killed, or found no shared memory, into RunStopped.

    torch raises it wherever the training happens to be when the signal comes, so it may be the cause of another error:
    a checkpoint that could not be written, say.
    """
    try:
        yield
    except Exception as error:
        found = list(LOST.finditer("\n".join(map(str, causes(error)))))
        if not found:
            raise
        signal = next((f" (killed by signal: {one[1].strip()})" for one in found if one[1]), "")
        how = signal or next((f" ({one[2]})" for one in found if one[2]), "")
        raise RunStopped(
            f"A process that reads images was lost{how}. Most often the memory was not enough, or the shared memory "
            "(/dev/shm under Linux): lower data.num_workers (in src.predict num_workers; 0 reads without such "
            "processes) or the batch size; a container gets more with docker run --shm-size=2g. Checkpoints are "
            "unharmed: resume=<run dir> goes on."
        ) from error

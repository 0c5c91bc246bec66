"""What was found for each candidate, in a file each, so that an interrupted choice goes on with the next one."""

import json
import logging
import zipfile
from pathlib import Path

import numpy as np

from src.choosing.ranking import Result
from src.files.whole_files import replaced

log = logging.getLogger(__name__)

FACTS, ROWS = "facts.json", "rows"


def write_result(file: Path, result: Result) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    facts = np.frombuffer(json.dumps(dict(result.facts)).encode(), dtype=np.uint8)
    with replaced(file) as part, part.open("wb") as stream:
        np.savez_compressed(stream, **{ROWS: result.rows_N, FACTS: facts, **result.kept})  # type: ignore[arg-type]


def read_result(file: Path, name: str) -> Result | None:
    """None if there is no such file, or if it is damaged."""
    if not file.exists():
        return None
    try:
        with np.load(file) as arrays:
            kept = {key: arrays[key] for key in arrays.files if key not in (ROWS, FACTS)}
            return Result(name, arrays[ROWS], kept, json.loads(arrays[FACTS].tobytes()))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        log.warning("%s cannot be read (%s), and is made anew.", file, error)
        return None

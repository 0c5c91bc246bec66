"""JSON files."""

import json
import math
from pathlib import Path
from typing import Any

from src.files.whole_files import replaced


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Written whole or not at all; not-a-number becomes null, which json can say."""
    clean = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in values.items()}
    with replaced(path) as part:
        part.write_text(json.dumps(clean, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

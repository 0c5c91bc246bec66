"""Says what to type after `python src/train.py`, by which `import src` finds this file instead of the package."""

import shlex
import sys
from pathlib import Path

COMMAND = f"python -m src.{Path(sys.argv[0]).stem} {shlex.join(sys.argv[1:])}".strip()
raise SystemExit(f"The commands are modules, to be run from the project's folder: {COMMAND}")

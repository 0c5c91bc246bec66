"""docs/security.md names a test for each promise; they exist."""

import ast
import re

from src.settings.project import PROJECT_ROOT


def test_every_promise_has_its_test() -> None:
    text = (PROJECT_ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    promises = [line for line in text.splitlines() if line.startswith("|") and "tests/" in line]
    named = [re.findall(r"(tests/[\w/]+\.py)::(\w+)", line) for line in promises]
    assert len(promises) >= 9 and all(named)
    for file, test in {pair for pairs in named for pair in pairs}:
        tree = ast.parse((PROJECT_ROOT / file).read_text(encoding="utf-8"))
        assert test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, f"{file}::{test}"
    section = text.partition("## What is promised")[2].partition("## What is not promised")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
    assert len(rows) == len(promises), "a promise without a test"

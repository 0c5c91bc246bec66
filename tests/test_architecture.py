"""The shape of src: who may import whom, no circles, tasks named in src/tasks alone, short files and functions."""

import ast
import re
from collections.abc import Iterator
from functools import cache

from src.settings.options import task_names
from src.settings.project import PROJECT_ROOT

SRC = PROJECT_ROOT / "src"
# From the bottom to the top: a folder imports itself and what stands before it.
ORDER = (
    "evaluation", "settings", "files", "cli", "models", "data", "reports", "runs", "training", "tasks", "build",
    "sweeps", "choosing", "predicting", "comparing", "exporting", "serving", "publishing", "commands", "library",
)  # fmt: skip
WITHOUT_TORCH = ("evaluation", "settings", "files", "cli", "reports", "sweeps", "comparing")
LONGEST_FILE, LONGEST_FUNCTION, MOST_CFG = 200, 40, 19
OF_THE_FIELD = ("detection", "segmentation")  # tasks whose names are words of texts as well
THEIRS = {  # keys and modules of others that are called like a task
    "evaluation/found_objects.py": "COCO's key of the outline",
    "data/annotations/coco_file.py": "the same",
    "models/whole_networks.py": "torchvision's modules",
}


@cache
def modules() -> dict[str, ast.Module]:
    return {
        ".".join(path.relative_to(PROJECT_ROOT).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(SRC.rglob("*.py"))
        if path.name != "__init__.py"
    }


def room(module: str) -> str:
    """The folder below src, or `commands` for what lies in src itself, but for the library, which calls one."""
    if module == "src.library":
        return "library"
    parts = module.split(".")
    return parts[1] if len(parts) > 2 else "commands"


def imports(tree: ast.AST) -> Iterator[str]:
    """Modules of src, and others by their first name, wherever in the file they are imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name for name in inner if name in modules())
            if node.module in modules() or not node.module.startswith("src"):
                yield node.module


@cache
def arrows() -> dict[str, set[str]]:
    return {name: {one for one in imports(tree) if one in modules()} for name, tree in modules().items()}


def test_folders_import_only_what_stands_before_them() -> None:
    upward = sorted(
        f"{one} -> {other}"
        for one, others in arrows().items()
        for other in others
        if ORDER.index(room(other)) > ORDER.index(room(one))
    )
    assert not upward, "\n".join(upward)


def test_no_import_goes_round_in_a_circle() -> None:
    seen: dict[str, int] = {}  # 1 = being looked at, 2 = done

    def visit(name: str, path: list[str]) -> None:
        seen[name] = 1
        for other in sorted(arrows()[name]):
            assert seen.get(other) != 1, " -> ".join([*path[path.index(other) :], other] if other in path else path)
            if other not in seen:
                visit(other, [*path, other])
        seen[name] = 2

    for name in arrows():
        if name not in seen:
            visit(name, [name])


def test_no_command_is_imported() -> None:
    """A command is where a reader starts; what others need of it belongs into a folder."""
    found = [(one, other) for one, others in arrows().items() for other in others if room(other) == "commands"]
    assert found == [("src.library", "src.train")]  # the same training, called from Python


def test_rooms_without_torch_import_none() -> None:
    heavy = ("torch", "torchvision", "lightning", "torchmetrics")
    found = [
        f"{name} imports {one}"
        for name, tree in modules().items()
        if room(name) in WITHOUT_TORCH
        for one in imports(tree)
        if one.split(".")[0] in heavy
    ]
    assert not found, "\n".join(found)


def test_no_file_outside_src_tasks_names_a_task() -> None:
    """Neither in code nor in a text: the name of the folder is the only list of tasks."""
    every, alone = task_names(), [name for name in task_names() if name not in OF_THE_FIELD]
    classes = [name.title().replace("_", "") for name in every]
    word = re.compile(
        rf"\b({'|'.join(alone)})\b|\b({'|'.join(classes)})(Task|Prediction|Outputs)\b"
        rf"|([\"']|\btask(\.name)?=|\btasks[./])({'|'.join(every)})\b"
    )
    found = [
        f"{path.relative_to(PROJECT_ROOT)}:{number}: {line.strip()}"
        for path in sorted(SRC.rglob("*.py"))
        if path.relative_to(SRC).parts[0] != "tasks" and str(path.relative_to(SRC)) not in THEIRS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if word.search(line)
    ]
    assert not found, "\n".join(found)


# What is longer, with the reason. The lists may only become shorter.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}


def test_files_are_short() -> None:
    lines = {str(p.relative_to(SRC)): len(p.read_text(encoding="utf-8").splitlines()) for p in SRC.rglob("*.py")}
    long = {name for name, count in lines.items() if count > LONGEST_FILE}
    assert long == set(LONG_FILES), {name: lines.get(name) for name in long ^ set(LONG_FILES)}


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name}.{node.name}", node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body without the docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_functions_are_short() -> None:
    long = {name for name, node in functions() if length(node) > LONGEST_FUNCTION}
    assert long == set(LONG_FUNCTIONS), long ^ set(LONG_FUNCTIONS)


# Up to build/ settings are typed. Who takes them untyped, with the reason; the list may only become shorter.
UNTYPED = {
    "src.cli": "composes them, and runs a command on them",
    "src.settings": "checks them before they are typed",
    "src.runs.opening": "types them, when it is clear which ones hold; changes those of a checkpoint by dotted keys",
}


def test_few_functions_take_untyped_settings() -> None:
    takers = {
        name
        for name, node in functions()
        for a in [*node.args.args, *node.args.kwonlyargs]
        if a.arg == "cfg" or "DictConfig" in (ast.unparse(a.annotation) if a.annotation else "")
    }
    listed = {name: [reason for reason in UNTYPED if f"{name}.".startswith(f"{reason}.")] for name in takers}
    assert {found[0] for found in listed.values() if found} == set(UNTYPED)
    others = sorted(name for name, found in listed.items() if not found)
    below = [name for name in others if ORDER.index(room(name.rpartition(".")[0])) <= ORDER.index("build")]
    assert not below and len(others) <= MOST_CFG, "\n".join(others)


def test_no_two_test_files_are_called_alike() -> None:
    """pytest would collect only the first."""
    names = [file.name for file in (PROJECT_ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))

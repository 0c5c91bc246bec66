"""Exported files that somebody else made: none of them runs code, and what they say of themselves is checked."""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from onnx import TensorProto, external_data_helper, helper, load_model, numpy_helper, save_model

from scripts.export_all import FAMILIES, write_checkpoint
from src.build.trained_model import TrainedModel
from src.exporting.files import make_facts
from src.exporting.graph import trace, write_program
from src.exporting.run import load_program
from src.serving.models import load_model as load_served
from src.settings.errors import ConfigError

FACTS: dict[str, Any] = {
    "format_version": 1, "task": "classification", "class_names": ["ant", "bee"],
    "preprocessing": {"resize_px": 9, "crop_px": 8, "interpolation": "bilinear", "mean": [0, 0, 0], "std": [1, 1, 1]},
    "temperature": 1.5, "thresholds": None, "ood_score_p99": -3.0, "backbone": "linear",
}  # fmt: skip


class Linear(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.head(images.float().mean(dim=(2, 3)) / 255)
        return logits.softmax(1), -logits.logsumexp(1)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    example = torch.zeros(2, 3, 61, 83, dtype=torch.uint8)
    sizes = {i: torch.export.Dim.DYNAMIC for i in (0, 2, 3)}
    program = torch.export.export(Linear().eval(), (example,), dynamic_shapes=(sizes,))
    file = tmp_path_factory.mktemp("good") / "good.pt2"
    torch.export.save(program, file, extra_files={"finetune.json": json.dumps(FACTS)})
    return file


class Touches:
    """Makes a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.mark),)


def pickled(mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(Touches(mark), buffer)
    return buffer.getvalue()


Change = Callable[[str, bytes, Path], "bytes | None"]


def rewrite(good: Path, file: Path, change: Change, *more: tuple[str, bytes]) -> Path:
    """The archive with each entry changed (None takes it away), and more entries behind."""
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(file, "w") as target:
        root = source.namelist()[0].partition("/")[0]
        for info in source.infolist():
            content = change(info.filename.partition("/")[2], source.read(info), file.parent / "ran")
            if content is not None:
                target.writestr(info.filename, content)
        for name, content in more:
            target.writestr(f"{root}/{name}", content)
    return file


def in_graph(edit: Callable[[Any, str], None]) -> Change:
    """The graph as `edit(graph_module, Python source that would make the mark)` leaves it."""

    def change(name: str, content: bytes, mark: Path) -> bytes:
        if name != "models/model.json":
            return content
        program = json.loads(content)
        edit(program["graph_module"], f"__import__('os').mkdir({str(mark)!r})")
        return json.dumps(program).encode()

    return change


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from walk(inner)


def renamed(module: Any, old: str, new: str) -> Any:
    """Wherever the tensor is named."""
    text = json.dumps(module).replace(json.dumps(old), json.dumps(new))
    module.update(json.loads(text))


def a_size(module: Any, source: str) -> None:
    next(part for part in walk(module) if "expr_str" in part)["expr_str"] = source


def a_name(module: Any, source: str) -> None:
    renamed(module, "softmax", f"softmax = {source}; x")


def a_weight_name(module: Any, source: str) -> None:
    renamed(module, "head.weight", f'head.weight"); {source}; ("')


def a_target(module: Any, target: str) -> None:
    module["graph"]["nodes"][-1]["target"] = target


def of_imported_type(module: Any, context: Any) -> None:
    """torch imports the module of a defaultdict's factory, whatever it is."""
    signature = module["module_call_graph"][0]["signature"]
    leaf = {"type": None, "context": None, "children_spec": []}
    root = {"type": "collections.defaultdict", "context": context, "children_spec": [leaf, leaf]}
    signature["out_spec"] = json.dumps([1, root])


FACTORY = {"default_factory_module": "makes_a_mark", "default_factory_name": "x", "dict_context": ["a", "b"]}
FOREIGN: dict[str, Change] = {
    "sample inputs that are more than tensors": lambda name, content, mark: (
        pickled(mark) if name == "data/sample_inputs/model.pt" else content
    ),
    "a size that is no plain arithmetic": in_graph(a_size),
    "as a name": in_graph(a_name),
    "head.weight": in_graph(a_weight_name),
    "the operation 'os.mkdir'": in_graph(lambda module, _: a_target(module, "os.mkdir")),
    "the operation 'torch.load'": in_graph(lambda module, _: a_target(module, "torch.load")),
    "the operation 'torch.ops.aten.from_file.default'": in_graph(
        lambda module, _: a_target(module, "torch.ops.aten.from_file.default")
    ),
    "the operation 'torch.ops.aten.neg.__class__'": in_graph(
        lambda module, _: a_target(module, "torch.ops.aten.neg.__class__")
    ),
    "the operation 'torch.ops.mine.op.default'": in_graph(
        lambda module, _: a_target(module, "torch.ops.mine.op.default")
    ),
    "of another kind than tensors": in_graph(lambda module, _: of_imported_type(module, FACTORY)),
    "an object or operation of its own (as_operator)": in_graph(
        lambda module, _: module["graph"]["nodes"][-1]["inputs"][0].update(arg={"as_operator": "torch.load"})
    ),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_could_run_code_is_refused(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "makes_a_mark.py").write_text(f"import os\nos.mkdir({str(mark)!r})\nx = dict\n")
    monkeypatch.syspath_prepend(tmp_path)
    file = rewrite(good, tmp_path / "foreign.pt2", FOREIGN[what])
    with pytest.raises(ConfigError) as error:
        load_served(None, str(file), "cpu")
    assert what in str(error.value) and "trust=true" in str(error.value) and not mark.exists()


def pickled_tensor(kind: str) -> Change:
    """The list says that a tensor is pickled; the tensor's file is."""

    def change(name: str, content: bytes, mark: Path) -> bytes:
        if name == f"data/{kind}/model_{kind}_config.json":
            config = json.loads(content)
            config["config"].setdefault(
                "head.weight", {"path_name": "tensor_0", "is_param": False, "tensor_meta": None}
            )
            config["config"]["head.weight"]["use_pickle"] = True
            return json.dumps(config).encode()
        return pickled(mark) if name == f"data/{kind}/weight_0" else content

    return change


def keep(name: str, content: bytes, mark: Path) -> bytes:
    return content


@pytest.mark.parametrize(
    ("change", "more", "what"),
    [
        (pickled_tensor("weights"), [], "'head.weight' pickled"),
        (pickled_tensor("constants"), ["data/constants/tensor_0"], "'head.weight' pickled"),
        (keep, ["data/constants/custom_obj_0"], "a pickled object (data/constants/custom_obj_0)"),
        (keep, ["data/constants/opaque_obj_0"], "a pickled object"),
        (keep, ["data/weights/model.pt"], "pickled weights (data/weights/model.pt)"),
        (keep, ["data/constants/model.pt"], "pickled weights"),
        (keep, ["data/aotinductor/model/x.so"], "compiled code"),
        (keep, ["models/second.json"], "'models/second.json', which src.export does not write"),
        (keep, ["../outside"], "'../outside', which src.export does not write"),
        (keep, ["models/model.json"], "'models/model.json' twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entries_that_no_file_of_ours_has(
    good: Path, tmp_path: Path, change: Change, more: list[str], what: str
) -> None:
    mark = tmp_path / "ran"
    file = rewrite(good, tmp_path / "f.pt2", change, *((name, pickled(mark)) for name in more))
    with pytest.raises(ConfigError) as error:
        load_served(None, str(file), "cpu")
    assert what in str(error.value) and not mark.exists()


def test_guards_and_notes_are_left_out(good: Path, tmp_path: Path) -> None:
    """torch executes guards as Python source; the notes of the tracing are not needed either."""

    def change(name: str, content: bytes, mark: Path) -> bytes:
        if name != "models/model.json":
            return content
        program = json.loads(content)
        program["guards_code"] = [f"__import__('os').mkdir({str(mark)!r}) is None"]
        program["graph_module"]["graph"]["nodes"][0]["metadata"]["from_node"] = "[[[["
        return json.dumps(program).encode()

    model = load_served(None, str(rewrite(good, tmp_path / "f.pt2", change)), "cpu")
    assert (
        model.compute(np.zeros((2, 3, 9, 9), np.uint8), [(9, 9)] * 2)["probabilities"].shape == (2, 2)
        and not (tmp_path / "ran").exists()
    )


def test_trust_loads_it_all_the_same(good: Path, tmp_path: Path) -> None:
    file = rewrite(good, tmp_path / "f.pt2", keep, ("extra/notes.txt", b"mine"))
    assert load_served(None, str(file), "cpu").facts.class_names == ["ant", "bee"]  # a text is no danger
    file = rewrite(good, tmp_path / "g.pt2", keep, ("notes.txt", b"mine"))
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        load_served(None, str(file), "cpu")
    assert load_served(None, str(file), "cpu", trust=True).facts.temperature == 1.5


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_archive_that_was_checked_is_the_one_that_is_loaded(good: Path, tmp_path: Path) -> None:
    """A second archive before or behind the first; one that is packed; entries on top of each other."""
    foreign = rewrite(good, tmp_path / "foreign.pt2", in_graph(a_size)).read_bytes()
    images = torch.full((1, 3, 9, 9), 100, dtype=torch.uint8)
    expected = torch.export.load(good).module()(images)[0]
    (tmp_path / "last.pt2").write_bytes(foreign + good.read_bytes())
    program, _ = load_program(tmp_path / "last.pt2", "it")
    assert torch.equal(program(images)[0], expected) and not (tmp_path / "ran").exists()
    (tmp_path / "first.pt2").write_bytes(good.read_bytes() + foreign)
    with pytest.raises(ConfigError, match="no plain arithmetic"):
        load_program(tmp_path / "first.pt2", "it")
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(tmp_path / "p.pt2", "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(ConfigError, match="packed, which torch never does"):
        load_program(tmp_path / "p.pt2", "it")


def test_tensors_larger_than_their_files(good: Path, tmp_path: Path) -> None:
    """An empty file would become zeros of any size."""

    def change(name: str, content: bytes, mark: Path) -> bytes:
        if name == "data/weights/weight_0":
            return b""
        return content.replace(b'{"as_int": 2}', b'{"as_int": 99999999999}') if "weights_config" in name else content

    with pytest.raises(ConfigError, match="larger than its file"):
        load_program(rewrite(good, tmp_path / "f.pt2", change), "it")


@pytest.mark.parametrize(
    "damage", [b"", b"text", b"<!DOCTYPE html>", b"version https://git-lfs.github.com/spec/v1\n", None, b"[" * 100_000]
)
def test_damaged_files(good: Path, tmp_path: Path, damage: bytes | None) -> None:
    content = good.read_bytes()
    if damage is None:
        (tmp_path / "f.pt2").write_bytes(content[: len(content) // 2])
    elif len(damage) < 1000:
        (tmp_path / "f.pt2").write_bytes(damage)
    else:
        rewrite(good, tmp_path / "f.pt2", lambda name, old, _: damage if name == "models/model.json" else old)
    with pytest.raises(ConfigError, match=r"cannot be read by torch\.export\.load"):
        load_program(tmp_path / "f.pt2", "it")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_files_of_every_family_load_without_trust(tmp_path: Path, name: str) -> None:
    write_checkpoint(name, tmp_path / "model.ckpt")
    opened = TrainedModel.open(str(tmp_path / "model.ckpt"))
    task = opened.task
    model = task.exported()
    program = trace(model, name)
    write_program(program, make_facts(opened, model.output_names), tmp_path / "model.pt2")
    loaded, facts = load_program(tmp_path / "model.pt2", "it")
    images = torch.randint(0, 256, (2, 3, 90, 70), dtype=torch.uint8)
    with torch.no_grad():
        assert all(torch.equal(*pair) for pair in zip(loaded(images), program.module()(images), strict=True))
    assert json.loads(facts)["backbone"] == name


# ------------------------------------------------------------------------------------------------- what a file says


def with_facts(good: Path, file: Path, facts: Any) -> Path:
    text = facts if isinstance(facts, str) else json.dumps(facts)
    return rewrite(good, file, lambda name, old, _: text.encode() if name == "extra/finetune.json" else old)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("task", "evil"), ("task", ["classification"]), ("format_version", True), ("format_version", "1"),
        ("class_names", "ab"), ("class_names", [[1], [2]]), ("class_names", ["ant", ""]), ("class_names", []),
        ("class_names", ["ant", "ant"]), ("class_names", ["ant", "x" * 2000]), ("class_names", ["ant"] * 100_001),
        ("preprocessing", [8]), ("preprocessing.resize_px", 0), ("preprocessing.resize_px", 8.5),
        ("preprocessing.resize_px", 10**9), ("preprocessing.crop_px", 10), ("preprocessing.interpolation", "exec"),
        ("preprocessing.mean", [0, 0]), ("preprocessing.mean", ["0", 0, 0]), ("preprocessing.std", [1, 1, 0]),
        ("preprocessing.std", [1, 1, float("nan")]), ("temperature", -1), ("temperature", float("inf")),
        ("temperature", "1"), ("thresholds", [0.5]), ("thresholds", [0.5, 1.5]), ("thresholds", 0.5),
        ("ood_score_p99", "x"), ("ood_score_p99", float("nan")), ("ood_score_p99", 10**400), ("backbone", 5),
    ],
)  # fmt: skip
def test_each_wrong_entry_is_named(good: Path, tmp_path: Path, entry: str, value: Any) -> None:
    facts = json.loads(json.dumps(FACTS))
    outer, _, inner = entry.rpartition(".")
    (facts[outer] if outer else facts)[inner] = value
    with pytest.raises(ConfigError) as error:
        load_served(None, str(with_facts(good, tmp_path / "f.pt2", facts)), "cpu")
    assert entry in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize("text", ["", "no json", "[]", "[" * 100_000, "{}", json.dumps({"task": "classification"})])
def test_files_that_say_nothing(good: Path, tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"was not written by python -m src.export"):
        load_served(None, str(with_facts(good, tmp_path / "f.pt2", text)), "cpu")


def test_names_that_cannot_be_sent_are_spelled_out(good: Path, tmp_path: Path) -> None:
    facts = FACTS | {"class_names": ["ant\udcff", "bee\x1b[2J"]}
    model = load_served(None, str(with_facts(good, tmp_path / "f.pt2", facts)), "cpu")
    assert model.facts.class_names == ["ant\\udcff", "bee\\x1b[2J"]


# ------------------------------------------------------------------------------------------------------------ .onnx


def write_onnx(file: Path, last: str = "Softmax", value: float = 1.0, batch: int | str = "N", to: int = 1) -> Path:
    """Mean colours times `value`, then the operation `last`, as numbers of the kind `to`."""
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "scale"], ["logits"]),
        helper.make_node(last, ["logits"], ["answers"]),
        helper.make_node("Cast", ["answers"], ["probabilities"], to=to),
        helper.make_node("ReduceSum", ["logits", "one"], ["ood_score"], keepdims=0),
    ]
    constants = {"axes": np.array([2, 3]), "one": np.array([1]), "scale": np.full((1, 3), value, np.float32)}
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("images", TensorProto.UINT8, [batch, 3, "H", "W"])],
        [helper.make_tensor_value_info("probabilities", to, [batch, 3]),
         helper.make_tensor_value_info("ood_score", TensorProto.FLOAT, [batch])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    facts = FACTS | {"class_names": ["ant", "bee", "cat"]}
    helper.set_model_props(model, {key: json.dumps(value) for key, value in facts.items()})
    save_model(model, file)
    return file


def test_a_good_onnx_file(tmp_path: Path) -> None:
    assert load_served(None, str(write_onnx(tmp_path / "m.onnx")), "cpu").facts.backbone == "linear"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ({"value": float("nan")}, "numbers that are not finite"),
        ({"last": "Identity"}, "128 where probabilities of 0 to 1 are asked for"),
        ({"batch": 1}, "cannot compute"),
        ({"to": TensorProto.DOUBLE}, "float64 where float32 is asked for"),
    ],
)
def test_models_that_cannot_answer_do_not_start(tmp_path: Path, file: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        load_served(None, str(write_onnx(tmp_path / "m.onnx", **file)), "cpu")


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    """Else a file could ask for any other of this machine as its numbers."""
    (tmp_path / "secret").write_bytes(bytes(12))
    (tmp_path / "inner").mkdir()
    for place in ("../secret", str(tmp_path / "secret"), "beside"):
        model = load_model(write_onnx(tmp_path / "inner" / "m.onnx"))
        tensor = next(one for one in model.graph.initializer if one.name == "scale")
        external_data_helper.set_external_data(tensor, place, 0, 12)
        (tmp_path / "inner" / "m.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(ConfigError, match="external data"):
            load_served(None, str(tmp_path / "inner" / "m.onnx"), "cpu")


def test_external_numbers_inside_of_operations_are_found(tmp_path: Path) -> None:
    """A constant within a branch within a branch."""
    outside = numpy_helper.from_array(np.zeros(3, np.float32), "x")
    external_data_helper.set_external_data(outside, "/etc/passwd", 0, 12)
    for _ in range(2):
        node = helper.make_node("Constant", [], ["y"], value=outside)
        graph = helper.make_graph([node], "then", [], [helper.make_tensor_value_info("y", 1, [3])])
        node = helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)
    model = load_model(write_onnx(tmp_path / "m.onnx"))
    model.graph.node.append(node)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ConfigError, match="external data"):
        load_served(None, str(tmp_path / "m.onnx"), "cpu")


@pytest.mark.parametrize(("domain", "kind"), [("evil.com", "Softmax"), ("com.microsoft", "EPContext")])
def test_operations_of_other_libraries_are_refused(tmp_path: Path, domain: str, kind: str) -> None:
    model = load_model(write_onnx(tmp_path / "m.onnx"))
    model.graph.node[3].domain, model.graph.node[3].op_type = domain, kind
    model.opset_import.append(helper.make_opsetid(domain, 1))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ConfigError, match="operations of its own"):
        load_served(None, str(tmp_path / "m.onnx"), "cpu")


def test_onnx_files_cut_short(tmp_path: Path) -> None:
    content = write_onnx(tmp_path / "m.onnx").read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"ORTM" + content, b"<html>"):
        (tmp_path / "f.onnx").write_bytes(damaged)
        with pytest.raises(ConfigError, match=r"cannot be read by onnxruntime|not written by python -m src\.export"):
            load_served(None, str(tmp_path / "f.onnx"), "cpu")


class LooksAtPlaces(torch.nn.Module):
    """Of images float32 [1, C, H, W] what is in boxes float32 [N, 4], as the second stage of a detector."""

    def forward(self, images: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torchvision.ops.roi_align(images, [boxes], 2)
        return found


@pytest.mark.slow
def test_a_detector_is_loaded_where_nothing_else_is(tmp_path: Path) -> None:
    """As by src.serve: the operations of torchvision are there once it is imported."""
    program = torch.export.export(LooksAtPlaces().eval(), (torch.rand(1, 3, 8, 8), torch.rand(2, 4)))
    torch.export.save(program, tmp_path / "detector.pt2")
    code = "import sys, pathlib, src.exporting.run as run; run.load_program(pathlib.Path(sys.argv[1]), 'it')"
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "detector.pt2")], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr

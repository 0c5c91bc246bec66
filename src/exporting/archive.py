"""A .pt2 file without anything in it that could run code.

torch.export.load runs what a file tells it to: it unpickles weights and sample inputs, evaluates sizes as Python, loads
shared libraries, and writes the names in the graph into a program that it executes. So a file is read here first, and
what it needs is copied to an archive of its own, which alone goes to torch: no second entry of a name, none that nobody
looked at. What a file of src.export has no need of stays behind (notes of the tracing, sample inputs) or is refused.
"""

import io
import json
import math
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from src.exporting.operations import UncheckedPart, require
from src.exporting.program_check import check_program, dotted_name

LARGEST_JSON = 256 * 2**20  # bytes; MaxViT's graph takes 3 MB
FACTS = "extra/finetune.json"
GRAPH = "models/model.json"
TENSORS = {"weights": "weight", "constants": "tensor"}  # kinds, and how their files are called
# What torch.export.save writes, with the contents that it must have where they decide how the rest is read.
FIXED = {"archive_format": b"pt2", "archive_version": b"0", "byteorder": b"little"}
UNREAD = re.compile(r"\.data/serialization_id|extra/.*")
RUNS_CODE = {
    r"data/aotinductor/|.*\.(so|dll|dylib|pyd|cubin|o)$": "compiled code",
    r"data/constants/(custom|opaque)_obj": "a pickled object",
    r"data/(weights|constants)/.*\.pt$": "pickled weights",
}


def checked_archive(file: Path) -> tuple[io.BytesIO, str]:
    """An archive for torch.export.load with what is harmless in `file`, and the text of its finetune.json or "".

    Raises UncheckedPart, which names what the file holds beside that; zipfile.BadZipFile, ValueError, KeyError and
    others if it is damaged.
    """
    checked = io.BytesIO()
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(checked, "w", zipfile.ZIP_STORED) as target:
        entries = read_entries(source, file.stat().st_size)
        for name, content in FIXED.items():
            if name in entries:
                require(source.read(entries[name]).strip() == content, f"another {name} than src.export writes")
                target.writestr(f"archive/{name}", content)
        version = source.read(entries[".data/version"])
        require(re.fullmatch(rb"\d{1,3}\s*", version) is not None, "another .data/version than src.export writes")
        target.writestr("archive/.data/version", version)
        program = check_program(json.loads(read_text(source, entries[GRAPH])))
        target.writestr(f"archive/{GRAPH}", json.dumps(program))
        for kind in TENSORS:
            copy_tensors(source, entries, kind, target)
        check_sample_inputs(source, entries)
        target.writestr("archive/data/sample_inputs/model.pt", b"")
        facts = read_text(source, entries[FACTS]) if FACTS in entries else ""
    checked.seek(0)
    return checked, facts


def read_entries(source: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """By name inside the archive's one folder. torch packs nothing, so the entries take no more than the file."""
    entries: dict[str, zipfile.ZipInfo] = {}
    roots = {info.filename.partition("/")[0] for info in source.infolist()}
    require(len(roots) == 1, "more than one folder, as old versions of torch wrote it")
    for info in source.infolist():
        name = info.filename.partition("/")[2]
        for pattern, what in RUNS_CODE.items():
            require(re.match(pattern, name) is None, f"{what} ({name})")
        known = name in {*FIXED, ".data/version", GRAPH, "data/sample_inputs/model.pt"} or UNREAD.fullmatch(name)
        for kind, prefix in TENSORS.items():
            known = known or re.fullmatch(rf"data/{kind}/({prefix}_\d{{1,6}}|model_{kind}_config\.json)", name)
        require(bool(known), f"'{name}', which src.export does not write")
        require(name not in entries, f"'{name}' twice")
        require(info.compress_type == zipfile.ZIP_STORED, f"'{name}' packed, which torch never does")
        entries[name] = info
    require(sum(info.file_size for info in entries.values()) <= size, "entries that lie on top of each other")
    return entries


def read_text(source: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    require(entry.file_size <= LARGEST_JSON, f"'{entry.filename}' of {entry.file_size / 2**20:.0f} MB")
    return source.read(entry).decode("utf-8")


def copy_tensors(
    source: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], kind: str, target: zipfile.ZipFile
) -> None:
    """The tensors that the list of this kind names, and the list, without any that is pickled or larger than its file.

    A file with no bytes would become a tensor of zeros of whatever size the list says.
    """
    list_name = f"data/{kind}/model_{kind}_config.json"
    payloads = json.loads(read_text(source, entries[list_name]))["config"]
    checked = {}
    for name, payload in payloads.items():
        dotted_name(name)
        require(payload["use_pickle"] is False, f"'{name}' pickled")
        file, meta = payload["path_name"], payload["tensor_meta"]
        require(isinstance(file, str) and re.fullmatch(TENSORS[kind] + r"_\d{1,6}", file) is not None, f"'{file}'")
        sizes, strides, (offset,) = (whole_numbers(meta[key]) for key in ("sizes", "strides", "storage_offset"))
        require(math.prod(sizes) <= entries[f"data/{kind}/{file}"].file_size, f"'{name}' larger than its file")
        checked[name] = {
            "path_name": file,
            "is_param": payload["is_param"] is True,
            "use_pickle": False,
            "tensor_meta": {
                "dtype": whole_number(meta["dtype"]),
                "sizes": [{"as_int": size} for size in sizes],
                "requires_grad": meta["requires_grad"] is True,
                "device": {"type": "cpu", "index": None},
                "strides": [{"as_int": stride} for stride in strides],
                "storage_offset": {"as_int": offset},
                "layout": whole_number(meta["layout"]),
            },
        }
    for file in sorted({payload["path_name"] for payload in checked.values()}):
        target.writestr(f"archive/data/{kind}/{file}", source.read(entries[f"data/{kind}/{file}"]))
    target.writestr(f"archive/{list_name}", json.dumps({"config": checked}))


def whole_numbers(values: Any) -> list[int]:
    return [whole_number(value["as_int"]) for value in (values if isinstance(values, list) else [values])]


def whole_number(value: Any) -> int:
    require(type(value) is int and 0 <= value < 2**63, f"{str(value)[:40]} as a size")
    return int(value)


def check_sample_inputs(source: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo]) -> None:
    """They stay behind; but a file that has more than tensors there was made to run something."""
    entry = entries.get("data/sample_inputs/model.pt")
    if entry is not None and entry.file_size:
        try:
            torch.load(io.BytesIO(source.read(entry)), map_location="cpu", weights_only=True)
        except Exception as error:
            raise UncheckedPart("sample inputs that are more than tensors (data/sample_inputs/model.pt)") from error

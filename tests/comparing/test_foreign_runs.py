"""Folders of runs that somebody else made: read as plain data, within bounds, or refused with the file's name."""

import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import Answer, Compare
from omegaconf import OmegaConf
from support.compared_runs import make_run, make_sweep
from support.slow import one_in

from src.files.csv_files import read_table
from src.files.plain_files import read_json, read_yaml
from src.runs.finished_runs import runs_of
from src.settings.errors import ConfigError

BOMB = "\n".join(["a: &a [x, x, x, x, x, x, x, x]", *(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 8)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)])  # fmt: skip


@pytest.mark.parametrize(
    ("text", "what"),
    one_in(
        3,
        [
            (BOMB, "anchors and aliases"),
            ("a: &x 1\nb: *x", "anchors and aliases (& and *) are not taken in line 1"),
            ("a: !!python/object/apply:os.mkdir [ran]", "tags (!) are not taken in line 1"),
            ("seed: 1\na: !!binary aGk=", "tags (!) are not taken in line 2"),
            ("a: !mine x", "tags"),
            ("[" * 5000, "nested too deeply"),
            ("a: " * 5000, "line 1"),
            ("a: " + "[" * 40 + "]" * 40, "nested too deeply"),
            ("a: [", "line 1"),
            ("just text", "no mapping"),
            ("", "no mapping"),
            ("a: " + "9" * 5000, "number"),
            ("a: " + "9" * 50, "a number of 167 bits"),
            ("a: " + "x" * 2_000_000, "it has 2 MB, and 1 are the most"),
            (b"a: \xff", "no UTF-8"),
            (b"a: \x00", "it is no YAML"),
        ],
    ),
)
def test_settings_that_are_more_than_plain_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_compare: Compare, text: str | bytes, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    a, b = (make_run(tmp_path / name, 0, {"val/acc": 0.9}) for name in "ab")
    (b / "config.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    start = time.perf_counter()
    answer = run_compare(a, b)
    assert answer.status == 1 and f"'{b}/config.yaml' cannot be read: " in answer.err and what in answer.err
    assert answer.err.count("\n") == 1 and not (tmp_path / "ran").exists() and time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("name", "text", "what"),
    one_in(3, [
        ("metrics.json", "[" * 100_000, "nested too deeply"),
        ("metrics.json", '{"a":' * 40 + "1" + "}" * 40, "nested too deeply"),
        ("metrics.json", "{", "it is no JSON"),
        ("metrics.json", "[1]", "no mapping"),
        ("metrics.json", '{"val/acc": {"a": 1}}', "val/acc is \"{'a': 1}\", and must be"),
        ("metrics.json", '{"val/acc": "high"}', "val/acc is 'high'"),
        ("metrics.json", '{"val/acc": true}', "val/acc is 'True'"),
        ("metrics.json", '{"val/acc": ' + "9" * 5000 + "}", "it is no JSON"),
        ("environment.json", "{}", "data_fingerprint is missing, and must be a text"),
        ("environment.json", '{"data_fingerprint": ["f1"]}', "data_fingerprint is \"['f1']\""),
        ("environment.json", '{"data_fingerprint": "f1", "git_commit": 5}', "git_commit is '5', and must be"),
        ("environment.json", '{"data_fingerprint": "f1", "versions": [1]}', "versions is '[1]'"),
        ("config.yaml", "task: {monitor: val/acc, mode: max, targets: classes}", "seed is missing"),
        ("config.yaml", "seed: [0]\ntask: {monitor: val/acc, mode: max}", "seed is '[0]'"),
        ("config.yaml", "seed: 0\ntask: max", "task.name is missing"),
        ("config.yaml", "seed: 0\ndata: {fold: x}\ntask: {monitor: val/acc, mode: max}", "data.fold is 'x'"),
    ]),
)  # fmt: skip
def test_entries_of_another_kind(tmp_path: Path, run_compare: Compare, name: str, text: str, what: str) -> None:
    a, b = (make_run(tmp_path / name, 0, {"val/acc": 0.9}, right="10") for name in "ab")
    (b / name).write_text(text)
    answer = run_compare(a, b)
    assert answer.status == 1 and f"'{b}/{name}'" in answer.err and what in answer.err, answer.err
    assert "Traceback" not in answer.err and not (tmp_path / "c.html").exists()


def test_nothing_is_resolved_and_no_terminal_obeys(
    tmp_path: Path, run_compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hidden")
    a, b = (make_run(tmp_path / name, 0, {"val/acc": 0.9}) for name in "ab")
    settings = OmegaConf.to_container(OmegaConf.load(b / "config.yaml"))
    settings |= {"x": "${oc.env:SECRET}", "y": "\x1b[2J", "\x1b]0;": 1}
    OmegaConf.save(OmegaConf.create(settings), b / "config.yaml")
    answer = run_compare(a, b)
    assert answer.status == 0, answer.err
    assert "${oc.env:SECRET}" in answer.out and "hidden" not in answer.out and "\x1b" not in answer.out
    assert "\\x1b[2J" in answer.out


def test_values_are_those_of_omegaconf(tmp_path: Path) -> None:
    text = (
        "a: 1e-3\nb: 1.0e-05\nc: 2026-01-01\nd: 'yes'\ne: true\nf: null\ng: .5\nh: 1_000\ni: -2.\nj: [1, x]\nk: 0x10\n"
    )
    (tmp_path / "c.yaml").write_text(text)
    assert read_yaml(tmp_path / "c.yaml") == OmegaConf.to_container(OmegaConf.load(tmp_path / "c.yaml"))
    (tmp_path / "c.json").write_text('{"a": NaN, "b": 1e999, "c": -Infinity, "d": 1.5}')
    assert read_json(tmp_path / "c.json") == {"a": None, "b": None, "c": None, "d": 1.5}


@pytest.mark.parametrize("job", ["../outside", "/etc", "..", ".", "", "a/../../outside", "C:\\x"])
def test_jobs_are_folders_beside_the_table(tmp_path: Path, run_compare: Compare, job: str) -> None:
    make_run(tmp_path / "outside", 0, {"val/acc": 0.9})
    sweep = make_sweep(tmp_path / "sweep", [0.9])
    (sweep / "sweep.csv").write_text(f"job,status\n{job},done\n")
    answer = run_compare(sweep, tmp_path / "outside")
    assert answer.status == 1 and f"'{sweep}/sweep.csv' has the job {job!r}" in answer.err


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("name,status\n0_x,done\n", "it has no column job"),
        ("", "it has no column job, status"),
        ("job,status\n" + "x" * 2_000_000 + ",done\n", "field larger than field limit"),
    ],
)
def test_damaged_tables(tmp_path: Path, text: str, what: str) -> None:
    sweep = make_sweep(tmp_path / "sweep", [0.9])
    (sweep / "sweep.csv").write_text(text)
    with pytest.raises(ConfigError) as error:
        runs_of(str(sweep))
    assert f"'{sweep}/sweep.csv' cannot be read: " in str(error.value) and what in str(error.value)


@pytest.mark.parametrize(
    ("labels", "text", "what"),
    [
        ("classes", "path,label,prediction\na,b,c\n", "it has no column confidence"),
        ("classes", "path,label,prediction,confidence\na,b,c,high\n", "row 1 has no number"),
        ("numbers", "path,label,predicted:x\na,1,1\nb,1;2,\n", "row 2 has no number"),
        ("tags", "path,label\na,b\n", "it has no column prediction"),
    ],
)
def test_predictions_of_another_kind(
    tmp_path: Path, command: Callable[..., Answer], labels: str, text: str, what: str
) -> None:
    task = {"classes": "classification", "tags": "multilabel", "numbers": "regression"}[labels]
    settings = {"task.targets": labels, "task.name": task}
    runs = [make_run(tmp_path / name, 0, {"val/acc": 0.9}, settings) for name in "ab"]
    for run in runs:
        (run / "report" / "val_predictions.csv").write_text(text)
    answer = command("compare", f"runs={runs[0]}", str(runs[1]), f"output={tmp_path}/c.html")
    assert answer.status == 1 and "val_predictions.csv' cannot be read: " in answer.err and what in answer.err


def test_a_page_of_odd_names(tmp_path: Path, command: Callable[..., Answer]) -> None:
    """Bytes that are not UTF-8, control characters, digits that are none, curves that are no numbers."""
    settings = {"data._target_": "src.data.formats.digits.DigitsDataModule"}
    runs = [make_run(tmp_path / name, 0, {"val/acc": 0.9}, settings) for name in "ab"]
    for run, answer in zip(runs, (b"ant", b"b\xff\x1b"), strict=True):
        rows = b"".join(b"%s,ant,%s,0.9\n" % (path, answer) for path in (b"\xff", b"digits/x", b"digits/99999", b"'=1"))
        (run / "report" / "val_predictions.csv").write_bytes(b"path,label,prediction,confidence\n" + rows)
        (run / "epochs.csv").write_text("epoch,val/acc\n0,high\n1,0.5\n")
    answer = command("compare", f"runs={runs[0]}", str(runs[1]), f"output={tmp_path}/c.html")
    assert answer.status == 0, answer.err
    assert "\\udcff" in (page := (tmp_path / "c.html").read_text()) and ">=1<" in page and "\x1b" not in page


def test_cells_come_back_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("job,'=x\n'-a,'@b,more\nc\n")
    assert list(read_table(tmp_path / "t.csv")) == [{"job": "-a", "=x": "@b"}, {"job": "c", "=x": ""}]


def test_settings_that_cannot_be_written_are_not_published(tmp_path: Path, command: Callable[..., Answer]) -> None:
    run = make_run(tmp_path / "run", 0, {"val/acc": 0.9})
    (run / "checkpoints").mkdir()
    (run / "report" / "model_card.md").write_text("card")
    for record in ({"config": {"x": "${bad"}}, {}, {"config": 5}):
        torch.save({"state_dict": {}, "finetune": record}, run / "checkpoints" / "best.ckpt")
        answer = command("publish", f"ckpt={run}", f"output={tmp_path}/hub")
        assert answer.status == 1
        assert f"'{run}/checkpoints/best.ckpt' cannot be used: its entry finetune.config" in answer.err
    assert not (tmp_path / "hub").exists()


def test_links_out_of_a_run_are_not_published(tmp_path: Path, command: Callable[..., Answer]) -> None:
    run = make_run(tmp_path / "run", 0, {"val/acc": 0.9})
    (run / "checkpoints").mkdir()
    zipfile.ZipFile(run / "checkpoints" / "best.ckpt", "w").close()
    (tmp_path / "secret").write_text("secret")
    (run / "report" / "model_card.md").symlink_to(tmp_path / "secret")
    answer = command("publish", f"ckpt={run}", f"output={tmp_path}/hub")
    assert answer.status == 1 and "a link that leads out of the run" in answer.err
    assert not (tmp_path / "hub").exists() and json.loads((run / "metrics.json").read_text())


def test_runs_of_an_older_version(tmp_path: Path, run_compare: Compare) -> None:
    old, new = (make_run(tmp_path / name, 0, {"val/acc": 0.9}) for name in ("old", "new"))
    config = OmegaConf.load(old / "config.yaml")
    config.task = {"_target_": "src.classification.task.Task", "labels": "one", "monitor": "val/acc", "mode": "max"}
    OmegaConf.save(config, old / "config.yaml")
    for sides in ((old, new), (new, old)):
        answer = run_compare(*sides)
        assert answer.status == 1 and f"'{old}/config.yaml' cannot be used: an older version" in answer.err

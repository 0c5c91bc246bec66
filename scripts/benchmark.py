"""Measure this project against plain PyTorch loops (scripts/plain_loop.py, plain_detection_loop.py), side by side.

    python -m scripts.benchmark DATA_ROOT [--boxes VOC_ROOT] [--only startup,full,...] [--json FILE]

from the project's folder. DATA_ROOT has train/<class>/ and val/<class>/, such as the hymenoptera photographs of
PyTorch's transfer-learning tutorial; VOC_ROOT has boxes as Pascal VOC has them, such as the blood cells of BCCD. Both
sides use SqueezeNet 1.1 with the same weights, batches of 32, SGD with the same rates and two reading processes, on the
CPU. Each run is a process of its own, and the sides take turns, so that what else the machine does hits all of them.
Medians are compared.

startup   from the command to the first training step; and how fast a mistyped setting is answered
head      the head alone trains, `experiment=linear_probe augment=none` and, on twelve kept views of augmented images,
          `augment=light`; the feature cache starts empty each time. Time from the start of the fit to its end,
          and val accuracy of the last epoch. The plain loop runs the whole network in each epoch, on augmented images.
full      everything trains, with equal augmentation and schedules, without a cache and with one of resized images,
          which starts empty each time. `first epoch` is the time from the start of the fit to the end of the first
          epoch, filling of the cache and start of the readers included. The other columns are means of the later
          epochs: `epoch` is all there is to it, checkpoints too, `train` the training part of it without validation,
          which `wait` (from the end of a step to the next batch) and `step` split. Memory is the peak of the training
          process, and of the largest reader.
boxes     with --boxes: everything of SqueezeNet and FCOS trains at 320 px on batches of 8, mirrored, with one reading
          process and without a cache. Columns as for full.
gpu       where CUDA is there: images per second in training a random ResNet-50 in bf16 on resized images from the
          cache, against a bare loop with the same network on one batch that lies on the GPU. Take a DATA_ROOT with
          thousands of images, since an epoch's start weighs heavily in short ones. Not tried so far: this was written
          on a machine without a GPU.

Have the machine to yourself: each line says how many cores other programs kept busy meanwhile, and step times then
are not worth much. Runs on Linux (/proc). Writes all raw numbers, and whether the bars are met, as JSON.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table

from scripts.plain_loop import peak_memory_mib

PROJECT_ROOT = Path(__file__).parents[1]
PARTS = ("startup", "head", "full", "boxes", "gpu")
Run = dict[str, Any]

# The bars
HEAD_SPEEDUP, VIEWS_SPEEDUP = 10.0, 3.0
FULL_STEP_RATIO, BOXES_STEP_RATIO, ANSWER_SECONDS, STARTUP_MORE_SECONDS = 1.03, 1.05, 1.0, 2.0
ERROR_RUNS = 3
GPU_BATCH_SIZE, GPU_EPOCHS, GPU_BARE_STEPS = 64, 4, 100


class TimingCallback(Callback):
    """Writes the measurements of scripts/plain_loop.py for a run of this project, in the same form.

    Args:
        output: path of the JSON file.
        score: name of the validation metric that is written.
    """

    def __init__(self, output: str, score: str) -> None:
        self.output, self.score = Path(output), score
        self.fit_start = self.epoch_start = self.train_start = self.ready = self.val_start = self.val_end = 0.0
        self.first_step: float | None = None
        self.waited, self.steps, self.images = 0.0, 0, 0
        self.memory: dict[str, float] = {}
        self.epochs: list[dict[str, float]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":  # the first hook of a fit, before there are loaders and caches
            self.fit_start = self.epoch_start = time.time()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.waited, self.steps, self.images = 0.0, 0, 0
        self.train_start = self.ready = finished_time()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        now = time.time()
        self.waited += now - self.ready
        self.first_step = self.first_step or now

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.steps += 1
        self.images += len(batch["label"])
        self.ready = time.time()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.val_start = finished_time()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.val_end = time.time()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.memory = peak_memory_mib()  # here, while the readers live
        now = time.time()
        self.epochs.append({
            "seconds": now - self.epoch_start, "train_seconds": self.val_start - self.train_start,
            "waited_seconds": self.waited, "val_seconds": self.val_end - self.val_start, "steps": self.steps,
            "images": self.images, self.score: float(trainer.callback_metrics[self.score]),
        })  # fmt: skip
        self.epoch_start = now

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        times = {"fit_start": self.fit_start, "first_step": self.first_step, "fit_end": time.time()}
        self.output.write_text(json.dumps({**times, "epochs": self.epochs, **self.memory}), encoding="utf-8")


def finished_time() -> float:
    """Now, when a GPU has finished what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.time()


# ---------------------------------------------------------------------------------------------------------------- runs


@dataclass(frozen=True)
class Variant:
    """A way to train: the settings of `python -m src.train`, or a plain loop's file, its data and its options."""

    name: str
    arguments: tuple[str, ...]
    plain: bool = False
    score: str = "val/acc"


def ours(name: str, data_root: Path, *settings: str) -> Variant:
    return Variant(name, ("data=folder", f"data.root={data_root}", *settings))


def plain(name: str, data_root: Path, *options: str) -> Variant:
    return Variant(name, ("scripts/plain_loop.py", str(data_root), *options), plain=True)


def plain_variants(data_root: Path, *options: str) -> list[Variant]:
    names = {"plain": (), "plain channels_last": ("--channels-last",)}
    return [plain(name, data_root, *options, *more) for name, more in names.items()]


class Bench:
    """Starts runs one after the other, prints a line for each, and keeps what they measured."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.runs: list[Run] = []
        self.bars: list[dict[str, Any]] = []

    def train(self, part: str, variant: Variant, seed: int = 0) -> None:
        """One training in a process of its own; with a fresh folder for its run directory and caches."""
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "measured.json"
            if variant.plain:
                file, *options = variant.arguments
                command = [sys.executable, "-m", file.removesuffix(".py").replace("/", "."), *options]
                command += [f"--seed={seed}", f"--json={output}"]
            else:
                command = [sys.executable, "-m", "src.train", *variant.arguments]
                command += [f"seed={seed}", f"hydra.run.dir={folder}/run", f"data.cache_dir={folder}/cache"]
                command += [f"+callbacks.timing.output={output}", f"+callbacks.timing.score={variant.score}"]
                command += ["+callbacks.timing._target_=scripts.benchmark.TimingCallback"]
            start, busy_start = time.time(), foreign_cpu_seconds()
            execute(command, expected_status=0)
            command_seconds = time.time() - start
            foreign_cores = (foreign_cpu_seconds() - busy_start) / command_seconds
            measured = json.loads(output.read_text(encoding="utf-8"))
        fit_seconds = measured["fit_end"] - measured["fit_start"]
        startup_seconds = measured["first_step"] - start
        self.console.print(
            f"{part}  {variant.name}, seed {seed}: first step after {startup_seconds:.1f} s, fit {fit_seconds:.1f} s, "
            f"{variant.score} {measured['epochs'][-1][variant.score]:.4f}; "
            f"other programs kept {foreign_cores:.2f} cores busy"
        )
        facts = {"part": part, "variant": variant.name, "seed": seed, "command": command, "start": start}
        times = {"command_seconds": command_seconds, "startup_seconds": startup_seconds, "fit_seconds": fit_seconds}
        self.runs.append({**facts, **times, "foreign_cores": foreign_cores, **measured})

    def answer_mistake(self) -> None:
        """Time a command with a mistyped setting."""
        command = [sys.executable, "-m", "src.train", "optimizer.lrr=1"]
        start = time.time()
        answer = execute(command, expected_status=1)
        seconds = time.time() - start
        self.console.print(f"startup  mistyped setting: {seconds:.2f} s: {answer.splitlines()[0][:80]}")
        self.runs.append({"part": "startup", "variant": "mistyped", "command": command, "command_seconds": seconds})

    def values(self, part: str, variant: str, value: Callable[[Run], float] | str) -> list[float]:
        """Of each run of a variant; `value` is a key or a function of the run."""
        runs = [run for run in self.runs if (run["part"], run["variant"]) == (part, variant)]
        return [run[value] if isinstance(value, str) else value(run) for run in runs]

    def median(self, part: str, variant: str, value: Callable[[Run], float] | str) -> float:
        return statistics.median(self.values(part, variant, value))

    def bar(self, text: str, value: float, limit: float, at_least: bool = False) -> None:
        met = value >= limit if at_least else value <= limit
        self.bars.append({"bar": text, "value": value, "limit": limit, "met": met})


def execute(command: list[str], expected_status: int) -> str:
    """Run a command in the project's folder; return what it wrote to stderr.

    Raises SystemExit with that text if it ends with another status.
    """
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    if done.returncode != expected_status:
        raise SystemExit(f"{' '.join(command)}\nended with status {done.returncode}:\n{done.stderr}")
    return done.stderr


def foreign_cpu_seconds() -> float:
    """CPU time that the machine has spent on anything but this process and those it has started and seen end.

    Time that a virtual machine was kept waiting counts. On a busy machine, step times say more about the other programs
    than about the sides compared: threads that wait for each other make it worse than in proportion.
    """
    fields = Path("/proc/stat").read_text(encoding="utf-8").split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields)
    own = os.times()
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return busy - own.user - own.system - own.children_user - own.children_system


# --------------------------------------------------------------------------------------------------------------- parts


def startup(bench: Bench, data_root: Path, rounds: int) -> Table:
    """The default command against the plain script, up to the first step; and an answer to a mistyped setting."""
    limits = ("+trainer.limit_train_batches=1", "+trainer.limit_val_batches=1", "trainer.max_epochs=1")
    for _ in range(rounds):
        bench.train("startup", ours("ours", data_root, "trainer=cpu", *limits))
        bench.train("startup", plain("plain", data_root, "--epochs=1", "--limit-train-batches=1"))
    for _ in range(ERROR_RUNS):
        bench.answer_mistake()
    table = new_table("Start-up", "", "median s", "min..max s")
    for name, value in (("ours", "startup_seconds"), ("plain", "startup_seconds"), ("mistyped", "command_seconds")):
        words = "mistyped setting answered" if name == "mistyped" else f"{name}, command to first step"
        seconds = bench.values("startup", name, value)
        table.add_row(words, f"{statistics.median(seconds):.2f}", spread(seconds))
    more = bench.median("startup", "ours", "startup_seconds") - bench.median("startup", "plain", "startup_seconds")
    bench.bar("start-up, seconds more than the plain script", more, STARTUP_MORE_SECONDS)
    slowest = max(bench.values("startup", "mistyped", "command_seconds"))
    bench.bar("mistyped setting answered, seconds (slowest)", slowest, ANSWER_SECONDS)
    return table


def head(bench: Bench, data_root: Path, epochs: int, seeds: int) -> Table:
    """The head alone trains."""
    settings = ("experiment=linear_probe", "trainer=cpu", "logger=none", "data.num_workers=2")
    variants = [
        ours(name, data_root, *settings, augment, f"trainer.max_epochs={epochs}")
        for name, augment in (("ours", "augment=none"), ("ours augmented", "augment=light"))
    ]
    variants += plain_variants(data_root, "--head-only", f"--epochs={epochs}")
    for seed in range(seeds):
        for variant in variants:
            bench.train("head", variant, seed)
    columns = ("fit s", "min..max s", "command s", "ours faster", "ours augmented faster", "val/acc")
    table = new_table(f"Head only, {epochs} epochs, {seeds} seeds", "", *columns)
    accuracies = {variant.name: bench.values("head", variant.name, last_accuracy) for variant in variants}
    for name, values in accuracies.items():
        table.add_row(
            name,
            f"{bench.median('head', name, 'fit_seconds'):.1f}",
            spread(bench.values("head", name, "fit_seconds")),
            f"{bench.median('head', name, 'command_seconds'):.1f}",
            f"{speedup(bench, 'ours', name):.1f} x",
            f"{speedup(bench, 'ours augmented', name):.1f} x",
            f"{statistics.mean(values):.3f} [{spread(values, 3)}]",
        )
    faster, times = speedup(bench, "ours", "plain"), "times faster than the plain loop"
    bench.bar(f"head only, {times}", faster, HEAD_SPEEDUP, at_least=True)
    faster = speedup(bench, "ours augmented", "plain")
    bench.bar(f"head only, augmented, {times}", faster, VIEWS_SPEEDUP, at_least=True)
    better = statistics.mean(accuracies["ours augmented"]) - statistics.mean(accuracies["plain"])
    bench.bar("head only, augmented, val/acc above the plain loop", better, 0.0, at_least=True)
    return table


def speedup(bench: Bench, name: str, other: str) -> float:
    """How many times as long as the head-only fit of a variant that of another takes."""
    return bench.median("head", other, "fit_seconds") / bench.median("head", name, "fit_seconds")


def full(bench: Bench, data_root: Path, epochs: int, rounds: int) -> Table:
    """Everything trains, on the plain loop's random crops."""
    settings = (
        "optimizer=sgd", "optimizer.lr=1e-3", "scheduler=step", "augment.crop_scale_min=0.08",
        "augment.horizontal_flip=0.5", "trainer=cpu", "logger=none", "data.num_workers=2",
        f"trainer.max_epochs={epochs}",
    )  # fmt: skip
    variants = [
        ours("ours", data_root, *settings, "data.cache=none"),
        ours("ours cache=images", data_root, *settings, "data.cache=images"),
        *plain_variants(data_root, f"--epochs={epochs}"),
    ]
    title = f"Everything trains, {epochs} epochs, {rounds} rounds"
    table, ratio = step_by_step(bench, "full", title, variants, "plain channels_last", rounds)
    bench.bar("everything trains, step time against plain channels_last", ratio, FULL_STEP_RATIO)
    epoch = STEP_COLUMNS["epoch"]
    ratio = bench.median("full", "ours cache=images", epoch) / bench.median("full", "ours", epoch)
    bench.bar("cache=images, epoch time from the second on against no cache", ratio, 1.0)
    return table


def boxes(bench: Bench, voc_root: Path, epochs: int, rounds: int) -> Table:
    """Everything of a detector trains, mirrored, with equal rates and schedules."""
    settings = (
        "task=detection", "data=voc", f"data.root={voc_root}", "data.image_size_px=320", "data.batch_size=8",
        "augment=none", "augment.horizontal_flip=0.5", "optimizer=sgd", "optimizer.lr=5e-3", "trainer=cpu",
        "logger=none", "data.cache=none", "data.num_workers=1", f"trainer.max_epochs={epochs}",
    )  # fmt: skip
    loop = ("scripts/plain_detection_loop.py", str(voc_root), "--batch-size=8", f"--epochs={epochs}")
    variants = [
        Variant("ours", settings, score="val/ap"),
        Variant("plain", loop, plain=True, score="val/ap"),
        Variant("plain channels_last", (*loop, "--channels-last"), plain=True, score="val/ap"),
    ]
    title = f"Boxes, everything trains, {epochs} epochs, {rounds} rounds"
    table, ratio = step_by_step(bench, "boxes", title, variants, "plain", rounds)
    bench.bar("boxes, step time against plain", ratio, BOXES_STEP_RATIO)
    return table


def step_by_step(
    bench: Bench, part: str, title: str, variants: list[Variant], baseline: str, rounds: int
) -> tuple[Table, float]:
    """Run the variants in turn; a row for each, and the step time of the first as a share of the baseline's."""
    for _ in range(rounds):
        for variant in variants:
            bench.train(part, variant)
    columns = ("first epoch s", "epoch s", "train s/step", "wait", "step", "ratio", "img/s", "val s", "memory MiB")
    table = new_table(title, "", *columns)
    base = bench.median(part, baseline, per_step)
    for name in (variant.name for variant in variants):
        median = {key: bench.median(part, name, value) for key, value in STEP_COLUMNS.items()}
        table.add_row(
            name,
            f"{median['first']:.1f}",
            f"{median['epoch']:.1f}",
            f"{median['train']:.3f}",
            f"{median['wait']:.3f}",
            f"{median['train'] - median['wait']:.3f}",
            f"{median['train'] / base:.3f}",
            f"{median['rate']:.1f}",
            f"{median['val']:.1f}",
            f"{median['main']:.0f} + {median['worker']:.0f}",
        )
    return table, bench.median(part, variants[0].name, per_step) / base


def later(run: Run, key: str) -> float:
    """Sum over all epochs but the first, in which readers start and caches fill."""
    return float(sum(epoch[key] for epoch in run["epochs"][1:]))


def per_step(run: Run) -> float:
    """Seconds a training step, waiting for its batch included."""
    return later(run, "train_seconds") / later(run, "steps")


def images_per_second(run: Run) -> float:
    """In the training part of the epochs."""
    return later(run, "images") / later(run, "train_seconds")


def last_accuracy(run: Run) -> float:
    return float(run["epochs"][-1]["val/acc"])


STEP_COLUMNS: dict[str, Callable[[Run], float]] = {
    "first": lambda run: run["epochs"][0]["seconds"],
    "epoch": lambda run: later(run, "seconds") / (len(run["epochs"]) - 1),
    "train": per_step,
    "wait": lambda run: later(run, "waited_seconds") / later(run, "steps"),
    "rate": images_per_second,
    "val": lambda run: later(run, "val_seconds") / (len(run["epochs"]) - 1),
    "main": lambda run: run["main_mib"],
    "worker": lambda run: run["worker_mib"],
}


def gpu(bench: Bench, data_root: Path, rounds: int) -> Table:
    """ResNet-50 in bf16, with readers and everything, against a bare loop that never waits for images."""
    settings = (
        "backbone=resnet50", "backbone.weights=null", "optimizer=sgd", "trainer=gpu", "trainer.precision=bf16-mixed",
        "data.cache=images", "logger=none", f"data.batch_size={GPU_BATCH_SIZE}", f"trainer.max_epochs={GPU_EPOCHS}",
    )  # fmt: skip
    for _ in range(rounds):
        bench.train("gpu", ours("ours", data_root, *settings))
        rate = bare_images_per_second(GPU_BATCH_SIZE, GPU_BARE_STEPS)
        bench.console.print(f"gpu  bare loop: {rate:.0f} img/s")
        bench.runs.append({"part": "gpu", "variant": "bare", "images_per_second": rate})
    rate = bench.median("gpu", "ours", images_per_second)
    bare = bench.median("gpu", "bare", "images_per_second")
    table = new_table(f"ResNet-50, bf16, batches of {GPU_BATCH_SIZE}", "", "img/s", "share of the bare loop")
    table.add_row("ours, images from the cache", f"{rate:.0f}", f"{rate / bare:.2f}")
    table.add_row("bare loop, one batch on the GPU", f"{bare:.0f}", "1.00")
    return table


def bare_images_per_second(batch_size: int, steps: int) -> float:
    """Training steps of a random ResNet-50 on one batch that is on the GPU already."""
    from torchvision.models import resnet50

    model = resnet50().cuda().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    images_BCHW = torch.randn(batch_size, 3, 224, 224, device="cuda").contiguous(memory_format=torch.channels_last)
    labels_B = torch.randint(0, 1000, (batch_size,), device="cuda")
    start = 0.0
    for step in range(-10, steps):  # the first ten warm up
        if step == 0:
            start = finished_time()
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(model(images_BCHW), labels_B)
        torch.autograd.backward(loss)
        optimizer.step()
    seconds = finished_time() - start
    del model, optimizer
    torch.cuda.empty_cache()  # the next run of ours is another process
    return steps * batch_size / seconds


# --------------------------------------------------------------------------------------------------------------- words


def new_table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column else "left")
    return table


def spread(values: Iterable[float], digits: int = 2) -> str:
    values = list(values)
    return f"{min(values):.{digits}f}..{max(values):.{digits}f}"


def bars_table(bars: list[dict[str, Any]]) -> Table:
    table = new_table("Bars", "", "measured", "bar", "met")
    for bar in bars:
        table.add_row(bar["bar"], f"{bar['value']:.3g}", f"{bar['limit']:g}", "met" if bar["met"] else "NOT MET")
    return table


def machine() -> dict[str, Any]:
    """What the numbers depend on, besides the code."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load_before": os.getloadavg(),
        "processor": processor_name(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def processor_name() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def chosen_parts(text: str) -> list[str]:
    """Of a list such as startup,head."""
    parts = text.split(",")
    if unknown := [part for part in parts if part not in PARTS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: allowed are {', '.join(PARTS)}")
    return parts


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_root", type=Path, help="with train/<class>/ and val/<class>/")
    parser.add_argument("--boxes", type=Path, help="with Annotations, JPEGImages and ImageSets/Main")
    parser.add_argument("--only", type=chosen_parts, help=f"some of {','.join(PARTS)}; default: all it can")
    parser.add_argument("--rounds", type=positive, default=3, help="of startup, full, boxes and gpu (default: 3)")
    parser.add_argument("--seeds", type=positive, default=5, help="of head: one round each (default: 5)")
    parser.add_argument("--head-epochs", type=positive, default=25)
    parser.add_argument("--full-epochs", type=positive, default=3, help="of full and boxes, two or more (default: 3)")
    parser.add_argument("--json", type=Path, default=Path("benchmark.json"), help="default: benchmark.json")
    options = parser.parse_args()
    if options.full_epochs < 2:
        parser.error("--full-epochs: the epochs from the second on are what is compared")
    lacking = {"gpu": not torch.cuda.is_available(), "boxes": options.boxes is None}
    parts = options.only or [part for part in PARTS if not lacking.get(part)]
    if "gpu" in parts and lacking["gpu"]:
        parser.error("--only gpu: this machine has no CUDA device")
    if "boxes" in parts and lacking["boxes"]:
        parser.error("--only boxes: --boxes VOC_ROOT says where they are")
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)
    facts = machine()
    console.print(", ".join(f"{key} {value}" for key, value in facts.items()))
    bench, root = Bench(console), options.data_root.resolve()
    measure: dict[str, Callable[[], Table]] = {
        "startup": lambda: startup(bench, root, options.rounds),
        "head": lambda: head(bench, root, options.head_epochs, options.seeds),
        "full": lambda: full(bench, root, options.full_epochs, options.rounds),
        "boxes": lambda: boxes(bench, options.boxes.resolve(), options.full_epochs, options.rounds),
        "gpu": lambda: gpu(bench, root, options.rounds),
    }
    tables = []
    for part in parts:
        tables.append(measure[part]())
        # After each part: a long run may be stopped.
        report = {"machine": facts, "bars": bench.bars, "runs": bench.runs}
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    for table in (*tables, bars_table(bench.bars)):
        console.print(table)
    console.print(f"All numbers: {options.json}")


if __name__ == "__main__":
    main()

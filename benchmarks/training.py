"""Training speed: a plain PyTorch loop, this project's loop, and the ceiling of bare steps, in turns in one run.

One file, longer than others here: the three loops that it compares are read side by side.

    python benchmarks/training.py                                   # CPU: 2 processes of one thread; a few minutes
    python benchmarks/training.py --device cuda --models wideresnet:28:2 --rounds 5
    python benchmarks/training.py --cost-only --models resnet:8:1              # of every method; 8 minutes

(a) plain: as most repositories write it. A DataLoader with torchvision transforms for each picture (crop, mirror,
tensor, normalise), float32, contiguous, one process with all threads; a mask is multiplied in layer by layer, and DPF
keeps dense weights beside masked ones and sorts all of them for each new mask. Written out for dense, static and DPF.
(b) project: `training.loop.Trainer`, in as many processes at once as `train.py --jobs` would start.
(c) ceiling: forward, backward and fused SGD on one resident random batch, in the same precision and memory layout, in
as many processes at once as (b); nothing is loaded, augmented, masked or counted.

Every round measures a, b and c for --seconds each; the figures are medians over rounds of pictures a second, summed
over processes. method_cost is how much longer an epoch takes (b) with a method than dense: each process trains networks
of either kind in turns, every epoch of a method between two dense ones, and the median of the ratios to their mean is
reported with its 95 % interval; on a CPU of the process's seconds, not the clock's. There an epoch has 16 steps, so
that each holds one mask update of DPF and GMP, and SET and RigL are told to have one too, where their default is one
in 100. The bar is 5 % (COST_BAR), to which methods whose papers ask for more in some steps are not held (COSTLY).
`--cost-only --methods traced` measures what --trace-losses costs in the same way.
mfu: of (b), three times the forward's multiply-adds at two operations each, against --peak-tflops or, on a GPU, against
the operations a second of a large matrix product in the same precision, measured in the same run.

On a GPU (b) and (c) are measured with each number of --processes on the one device, and the best counts; (b) replays
CUDA graphs, and "launched" is (b) in one process without them (`--cuda-graphs off`).
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import binom
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from artifacts.atomic_writes import write_text
from artifacts.children import cores
from cli.help_layout import HelpText
from configs.experiment import ExperimentConfig
from data.base import ImageData, unpublished_normalisation
from models.flops import layer_flops
from models.registry import build_model
from pruning.registry import always_there
from pruning.weights import prunable_weights
from sweep.plan import resolve
from training.device import own_share, pick_precision, to_device
from training.graphs import recorder_for
from training.loop import Trainer
from training.networks import new_model

BATCH, SPARSITY, MASK_EVERY = 128, 0.9, 16
COST_BAR = 0.05  # of method_cost
COSTLY = ("rigl", "snip", "imp")
TRACED = "traced"  # of method_cost: dense training with --trace-losses
WRITTEN_OUT = ("dense", "static", "dpf")  # the methods of the plain loop


@dataclasses.dataclass(frozen=True)
class Case:
    """What is trained: architecture, depth, width, pruning method, device and precision."""

    arch: str
    layers: int
    width: int
    method: str
    device: str
    precision: str

    def named(self, processes: int) -> dict[str, Any]:
        """The first columns of its row."""
        return {
            "network": f"{self.arch}-{self.layers}" + (f"-{self.width}" if self.width > 1 else ""),
            "method": self.method,
            "device": torch.cuda.get_device_name(self.device) if self.on_gpu else self.device,
            "precision": self.precision,
            "processes": processes,
        }

    @property
    def on_gpu(self) -> bool:
        """Whether it is trained on a CUDA device."""
        return self.device.startswith("cuda")

    @property
    def members(self) -> int:
        """Pictures of an epoch; on a GPU about as many as a CIFAR model has, for a wait at each epoch's end counts."""
        return (196 if self.on_gpu else MASK_EVERY) * BATCH

    @property
    def config(self) -> ExperimentConfig:
        """The project's configuration; long enough that DPF is still pruning and static has pruned."""
        config = ExperimentConfig(
            method=self.method,
            sparsity=SPARSITY,
            arch=self.arch,
            layers=self.layers,
            width_mult=self.width,
            batch_size=BATCH,
            epochs=10_000,
            precision=self.precision,
            num_shadows=0,
        )
        return resolve(config, "datasets", {"prune_epoch": 0, "update_freq": self.members // BATCH})


def pictures(count: int) -> ImageData:
    """Random CIFAR-shaped pictures."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8))
    labels = torch.arange(count) % 10
    names = tuple(str(c) for c in range(10))
    return ImageData(images, labels, images[:20], labels[:20], names, **unpublished_normalisation(3))


def plain(case: Case) -> Iterator[int]:
    """Yields the number of pictures after every step of the plain loop."""
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms
    from torchvision.transforms.functional import to_pil_image

    data = pictures(case.members)
    steps = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    transform = transforms.Compose([*steps, transforms.Normalize(data.mean, data.std)])
    stored = [to_pil_image(image) for image in data.train_images]

    class Pictures(Dataset[tuple[Tensor, Tensor]]):
        def __len__(self) -> int:
            return case.members

        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            return transform(stored[index]), data.train_labels[index]

    device = torch.device(case.device)
    model = build_model(case.arch, case.layers, case.width, 3, 10).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    weights = list(_weights(model).values())
    dense = [weight.detach().clone() for weight in weights]
    masks = _masks(dense)
    count = 0
    while True:
        for images, labels in DataLoader(Pictures(), BATCH, shuffle=True):
            images, labels = images.to(device), labels.to(device)
            if case.method == "dpf":
                if count % MASK_EVERY == 0:
                    masks = _masks(dense)
                with torch.no_grad():
                    for weight, full, mask in zip(weights, dense, masks, strict=True):
                        weight.copy_(full * mask)
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(images), labels)
            loss.backward()
            with torch.no_grad():
                if case.method == "dpf":
                    for weight, full in zip(weights, dense, strict=True):
                        weight.copy_(full)
            optimizer.step()
            with torch.no_grad():
                for i, weight in enumerate(weights):
                    if case.method == "static":
                        weight.mul_(masks[i])
                    if case.method == "dpf":
                        dense[i] = weight.detach().clone()
            loss.item()  # the running loss that such loops print
            count += 1
            yield len(images)


def _weights(model: nn.Module) -> dict[str, nn.Parameter]:
    names = set(prunable_weights(model))
    return {name: parameter for name, parameter in model.named_parameters() if name in names}


def _masks(weights: Sequence[Tensor]) -> list[Tensor]:
    magnitudes = torch.cat([weight.detach().abs().flatten() for weight in weights])
    threshold = magnitudes.sort().values[int(SPARSITY * len(magnitudes))]
    return [(weight.detach().abs() >= threshold).to(weight) for weight in weights]


def project(case: Case, graphs: str = "auto", trace_losses: bool = False) -> Iterator[int]:
    """Yields the number of pictures after every epoch of the project's loop."""
    device = torch.device(case.device)
    members = np.arange(case.members)
    recorder = recorder_for(device, graphs)
    trainer = Trainer(case.config, pictures(case.members), members, device, recorder, trace_losses)
    while True:
        trainer.run_epoch()
        trainer.close_epoch()
        yield case.members


def launched(case: Case) -> Iterator[int]:
    """The same without CUDA graphs."""
    return project(case, "off")


def ceiling(case: Case) -> Iterator[int]:
    """Yields the number of pictures after every bare step."""
    device = torch.device(case.device)
    model = to_device(new_model(case.config, pictures(case.members)), device).train()
    images = torch.randn(BATCH, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (BATCH,), device=device)
    fused = device.type in ("cpu", "cuda")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=fused)
    while True:
        with torch.autocast(device.type, torch.bfloat16, enabled=case.precision == "bfloat16"):
            logits = model(images)
        optimizer.zero_grad()
        functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        yield BATCH


LOOPS: dict[str, Callable[[Case], Iterator[int]]] = {
    "plain": plain,
    "project": project,
    "ceiling": ceiling,
    "launched": launched,
}


def worker(kind: str, case: Case, threads: int, pipe: Connection) -> None:
    """Trains for as many seconds as it is told, and answers with pictures a second and the peak of device memory."""
    torch.set_num_threads(threads)
    own_share(torch.device(case.device), 1)
    steps = LOOPS[kind](case)
    next(steps)
    while (seconds := pipe.recv()) is not None:
        _wait(case)
        started, done = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            done += next(steps)
        _wait(case)
        pipe.send((done / (time.perf_counter() - started), _peak_mib(case)))


def _wait(case: Case) -> None:
    if case.on_gpu:
        torch.cuda.synchronize()


def _peak_mib(case: Case) -> float:
    if case.on_gpu:
        return torch.cuda.max_memory_reserved() / 2**20
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), float("nan"))


class Crew:
    """The processes of one kind: idle until told to train."""

    def __init__(self, kind: str, case: Case, processes: int, threads: int) -> None:
        context = get_context("spawn")
        self.pipes, self.processes = [], []
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=worker, args=(kind, case, threads, theirs), daemon=True)
            process.start()
            self.pipes.append(ours)
            self.processes.append(process)

    def train(self, seconds: float, count: int | None = None) -> tuple[float, float]:
        """Pictures a second, summed, and the largest peak of a process's memory; count: how many train, else all."""
        for pipe in self.pipes[:count]:
            pipe.send(seconds)
        answers = [pipe.recv() for pipe in self.pipes[:count]]
        return sum(rate for rate, _ in answers), max(peak for _, peak in answers)

    def dismiss(self) -> None:
        """Let the processes end."""
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.processes:
            process.join()


def epoch_ratios(case: Case, methods: Sequence[str], threads: int, seconds: float) -> dict[str, list[float]]:
    """By method, how many times as long its epochs take as the dense ones before and after them, in one process."""
    torch.set_num_threads(threads)
    own_share(torch.device(case.device), 1)
    loops = {method: _loop_of(case, method) for method in ("dense", *methods)}

    clock = time.perf_counter if case.on_gpu else time.process_time  # which others on the machine leave alone

    def epoch(method: str) -> float:
        _wait(case)
        started = clock()
        next(loops[method])
        _wait(case)
        return clock() - started

    for method in loops:
        epoch(method)
    ratios: dict[str, list[float]] = {method: [] for method in methods}
    until = time.perf_counter() + seconds
    before = epoch("dense")
    while time.perf_counter() < until or not ratios[methods[-1]]:
        for method in methods:
            own, after = epoch(method), epoch("dense")
            ratios[method].append(2 * own / (before + after))
            before = after
    return ratios


def _loop_of(case: Case, method: str) -> Iterator[int]:
    if method == TRACED:
        return project(dataclasses.replace(case, method="dense"), trace_losses=True)
    return project(dataclasses.replace(case, method=method))


def method_costs(
    case: Case, methods: Sequence[str], processes: int, threads: int, seconds: float
) -> dict[str, dict[str, float]]:
    """By method, how much longer an epoch takes with it than dense, as a fraction, with so many processes at once.

    The median, and the ends of its 95 % interval by order statistics.
    """
    with get_context("spawn").Pool(processes) as pool:
        answers = pool.starmap(epoch_ratios, [(case, methods, threads, seconds)] * processes)
    return {method: cost_of([ratio for answer in answers for ratio in answer[method]]) for method in methods}


def cost_of(ratios: Sequence[float]) -> dict[str, float]:
    """method_cost with its interval, from the ratios of epochs."""
    costs = np.sort(ratios) - 1.0
    low = int(binom.ppf(0.025, len(costs), 0.5))
    ends = {"low": costs[max(low - 1, 0)], "high": costs[min(len(costs) - low, len(costs) - 1)]}
    rounded = {f"method_cost_{end}": round(float(value), 3) for end, value in ends.items()}
    return {"method_cost": round(float(np.median(costs)), 3), **rounded}


def on_the_bar(rows: Sequence[dict[str, Any]]) -> str:
    """Which methods cost more than COST_BAR, in words."""

    def named(found: Sequence[dict[str, Any]]) -> str:
        cost = "{network} {method} {method_cost:.1%} [{method_cost_low:.1%}, {method_cost_high:.1%}]"
        return ", ".join(cost.format(**row) for row in found) or "none"

    own = [row for row in rows if "method_cost" in row]
    over = [row for row in own if row["method_cost"] > COST_BAR and row["method"] not in COSTLY]
    return (
        f"cost per step beside dense above {COST_BAR:.0%}: {named(over)}; "
        f"of the methods not held to it: {named([row for row in own if row['method'] in COSTLY])}"
    )


def measure(case: Case, rounds: int, seconds: float, counts: Sequence[int]) -> dict[str, Any]:
    """One line of the table; counts: processes of (b) and (c), ascending."""
    tried: dict[str, Sequence[int]] = {"plain": [1]} if case.method in WRITTEN_OUT else {}
    tried |= {"project": counts, "ceiling": counts} | ({"launched": [1]} if case.on_gpu else {})
    threads = max(1, cores() // counts[-1])
    crews = {
        kind: Crew(kind, case, several[-1], cores() if kind == "plain" else threads) for kind, several in tried.items()
    }
    turns = [(kind, count) for kind, several in tried.items() for count in several]
    found: dict[tuple[str, int], list[tuple[float, float]]] = {turn: [] for turn in turns}
    for crew in crews.values():
        crew.train(min(seconds, 2.0))  # warm
    for _ in range(rounds):
        for kind, count in turns:
            found[kind, count].append(crews[kind].train(seconds, count))
    for crew in crews.values():
        crew.dismiss()
    medians = {turn: float(np.median([rate for rate, _ in values])) for turn, values in found.items()}
    rates = {kind: max(medians[kind, count] for count in several) for kind, several in tried.items()}
    best = max(counts, key=lambda count: medians["project", count])
    row = {
        **case.named(best),
        **{f"{kind}_per_s": round(rate, 1) for kind, rate in rates.items()},
        **({"project_over_plain": round(rates["project"] / rates["plain"], 2)} if "plain" in rates else {}),
        "project_over_ceiling": round(rates["project"] / rates["ceiling"], 3),
    }
    if case.method != "dense":
        row |= method_costs(case, [case.method], best, threads, 2.0 * rounds * seconds)[case.method]
    if case.on_gpu and counts[0] == 1:
        row["graphs_over_launched"] = round(medians["project", 1] / rates["launched"], 2)
    if len(counts) > 1:
        row |= {f"project_{count}_per_s": round(medians["project", count], 1) for count in counts}
    peaks = {kind: max(peak for count in tried[kind] for _, peak in found[kind, count]) for kind in tried}
    return row | {f"{kind}_peak_mib": round(peak) for kind, peak in peaks.items()}


def costs_alone(
    case: Case, methods: Sequence[str], rounds: int, seconds: float, processes: int
) -> list[dict[str, Any]]:
    """A line for each method that is not dense, all of them in turns in the same processes."""
    methods = [method for method in methods if method != "dense"]
    threads = max(1, cores() // processes)
    costs = method_costs(case, methods, processes, threads, 2.0 * rounds * seconds * len(methods))
    return [{**dataclasses.replace(case, method=one).named(processes), **cost} for one, cost in costs.items()]


def matmul_tflops(device: str, precision: str, size: int = 8192, times: int = 20) -> float:
    """10^12 operations a second of products of two size x size matrices: what a device does at its best."""
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for _ in range(3):
        left @ right
    start.record()
    for _ in range(times):
        left @ right
    end.record()
    torch.cuda.synchronize(device)
    milliseconds: float = start.elapsed_time(end)
    return times * 2.0 * size**3 / (milliseconds / 1e3) / 1e12


def operations(case: Case) -> float:
    """Floating-point operations of one picture's forward and backward."""
    model = build_model(case.arch, case.layers, case.width, 3, 10)
    forward = sum(layer_flops(model, (3, 32, 32)).values())
    return 3.0 * 2.0 * forward


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every case, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpText)
    default = ["resnet:8:1", "resnet:20:1", "wideresnet:28:2"]
    parser.add_argument("--models", nargs="+", default=default, metavar="ARCH:LAYERS:WIDTH")
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=[*always_there(), TRACED],
        metavar="NAME",
        help=f"any of {', '.join(always_there())} (default: {' '.join(WRITTEN_OUT)}; with --cost-only all); with "
        f"--cost-only also {TRACED}, dense training with --trace-losses",
    )
    parser.add_argument(
        "--cost-only", action="store_true", help="measure method_cost alone, all methods in turns in the same processes"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument(
        "--processes",
        nargs="+",
        type=int,
        metavar="N",
        help="of (b) and (c) at once; of several numbers the best counts (default: one a core, on a GPU 1 2 4 8)",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--peak-tflops", type=float, help="of the device, for mfu (default: measured on a GPU)")
    parser.add_argument("--output", type=Path, help="write the table to this CSV as well")
    args = parser.parse_args(argv)
    methods = args.methods or (always_there() if args.cost_only else list(WRITTEN_OUT))
    if args.cost_only and methods == ["dense"]:
        parser.error("argument --cost-only: the cost of dense is 0; give other --methods")
    if TRACED in methods and not args.cost_only:
        parser.error(f"argument --methods: {TRACED} needs --cost-only")
    precision = pick_precision(args.precision, torch.device(args.device))
    on_gpu = args.device.startswith("cuda")
    counts = sorted(set(args.processes or ([1, 2, 4, 8] if on_gpu else [cores()])))
    peak = args.peak_tflops or (matmul_tflops(args.device, precision) if on_gpu else None)
    rows = []
    for model in args.models:
        parts = model.split(":")
        if len(parts) != 3 or not (parts[1] + parts[2]).isdigit():
            parser.error(f"argument --models: {model!r} is not ARCHITECTURE:DEPTH:WIDTH, as in resnet:20:1")
        arch, layers, width = parts
        if args.cost_only:
            case = Case(arch, int(layers), int(width), "dense", args.device, precision)
            rows += costs_alone(case, methods, args.rounds, args.seconds, counts[-1])
            continue
        for method in methods:
            case = Case(arch, int(layers), int(width), method, args.device, precision)
            row = measure(case, args.rounds, args.seconds, counts)
            if peak:
                row["mfu"] = round(row["project_per_s"] * operations(case) / (1e12 * peak), 4)
                row["peak_tflops"] = round(peak, 1)
            rows.append(row)
            print(row, flush=True)
    frame = pd.DataFrame(rows)
    print(
        frame.to_string(index=False),
        f"\n{on_the_bar(rows)}\n{platform.processor() or platform.machine()}, {cores()} cores",
    )
    if args.output is not None:
        write_text(args.output, frame.to_csv(index=False, lineterminator="\n"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Seconds and peak memory of every attack on made-up signals, beside straightforward versions of the same attacks.

    python benchmarks/attacks.py                           # 17 models x 50,000 examples x 10 classes x 2 queries
    python benchmarks/attacks.py --attacks lira rmia --examples 5000
    python benchmarks/attacks.py --no-straightforward --recipe fast
    python benchmarks/attacks.py --threads 1
    python benchmarks/attacks.py --models 257 --each       # attacks that can, with every model a target in turn

Each measurement runs in a process of its own, which draws the same signals first; memory is its peak beyond what the
process held before the attack (Linux). The straightforward versions loop over examples as the formulas are written, try
every threshold on every value (O(n^2)), and are measured on fewer examples (--straightforward-examples): their seconds
are scaled to all examples, linearly, and quadratically for the thresholds. Attack networks have no such version here;
`benchmarks/attack_recipes.py` compares their recipes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from artifacts.atomic_writes import write_text
from attacks.evaluate import learn_each, score
from attacks.inputs import AttackInputs
from attacks.interface import RECIPES, AttackSettings
from attacks.models import Models
from attacks.registry import ATTACKS
from attacks.statistics import phi
from cli.help_layout import HelpText

CLASSES = 10


def made_up(models: int, examples: int, queries: int, seed: int = 0) -> Models:
    """A cell of drawn signals: examples differ in difficulty, members have a higher margin."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=examples)
    membership = rng.random((models, examples)).argsort(axis=0).argsort(axis=0) < models // 2
    logits = rng.normal(0.0, 1.2, (models, examples, CLASSES)).astype(np.float32)
    logits[:, np.arange(examples), labels] += (rng.gamma(2.0, 2.0, examples) + membership).astype(np.float32)
    views = [phi(logits, labels) + 0.1 * rng.normal(size=(models, examples)) for _ in range(queries)]
    phis = np.stack(views, axis=2).astype(np.float32)
    population = rng.normal(3.0, 2.0, (models, 10_000, queries)).astype(np.float32)
    sensitivity = np.abs(rng.normal(size=logits.shape)).astype(np.float32)
    return Models(logits, phis, membership, labels, seed, sensitivity, population)


def memory_mib(field: str) -> float:
    """VmRSS (resident now) or VmHWM (its peak since `reset_peak`) of this process; NaN where /proc has neither."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), float("nan"))


def reset_peak() -> None:
    """Forget the peak that drawing the signals has left."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def measure(name: str, shape: tuple[int, int, int], recipe: str, threads: int) -> dict[str, object]:
    """One attack's row: learning, calibrating and scoring one target.

    cpu_seconds: of all threads, less than `seconds` only where others held the processor. peak_mib: beyond the signals;
    with_signals_mib: of the whole process.
    """
    import torch

    torch.set_num_threads(threads)
    models = made_up(*shape)
    inputs = models.leave_out(0)
    reset_peak()
    before, started, cpu = memory_mib("VmRSS"), time.perf_counter(), time.process_time()
    found = ATTACKS[name].run(inputs, AttackSettings(recipe=recipe))
    seconds, cpu_seconds, peak = time.perf_counter() - started, time.process_time() - cpu, memory_mib("VmHWM")
    row = {"attack": name, "seconds": round(seconds, 2), "cpu_seconds": round(cpu_seconds, 2)}
    row |= {"peak_mib": round(peak - before), "with_signals_mib": round(peak)}
    if name in found:
        row["auc"] = round(float(roc_auc_score(models.membership[0], found[name].scores)), 4)
    return row


def measure_each(name: str, shape: tuple[int, int, int]) -> dict[str, object]:
    """Seconds and memory of one attack with every model a target in turn: learning, calibrating and scoring."""
    models = made_up(*shape)
    reset_peak()
    before, started = memory_mib("VmRSS"), time.perf_counter()
    targets = range(shape[0])
    for target, knowledge in zip(targets, learn_each(models, targets, [name], AttackSettings()), strict=True):
        score(knowledge, models.outputs(target))
    seconds, peak = time.perf_counter() - started, memory_mib("VmHWM")
    row = {"attack": name, "targets": shape[0], "seconds": round(seconds, 1)}
    return row | {"peak_mib": round(peak - before), "with_signals_mib": round(peak)}


def lira_by_loops(inputs: AttackInputs) -> None:
    """lira_online and lira_offline, an example and a query at a time; no thresholds."""
    for i in range(inputs.num_examples):
        for q in range(inputs.num_queries):
            held = inputs.shadow_phi[inputs.shadow_in[:, i], i, q]
            rest = inputs.shadow_phi[inputs.shadow_out[:, i], i, q]
            x = inputs.target_phi[i, q]
            norm.logpdf(x, np.median(held), np.std(held, ddof=1)) - norm.logpdf(
                x, np.median(rest), np.std(rest, ddof=1)
            )
            norm.logsf((x - np.median(rest)) / np.std(rest, ddof=1))


def rmia_by_loops(inputs: AttackInputs) -> None:
    """rmia_online, an example and a query at a time; no thresholds."""
    assert inputs.target_population is not None
    assert inputs.shadow_population is not None
    p_z = 1 / (1 + np.exp(-inputs.target_population))
    z_bar = 0.5 * (1.3 * (1 / (1 + np.exp(-inputs.shadow_population))).mean(axis=0) + 0.7)
    for i in range(inputs.num_examples):
        for q in range(inputs.num_queries):
            p = 1 / (1 + np.exp(-inputs.shadow_phi[:, i, q]))
            bar = (p[inputs.shadow_in[:, i]].mean() + p[inputs.shadow_out[:, i]].mean()) / 2
            ratio = 1 / (1 + np.exp(-inputs.target_phi[i, q])) / bar
            (ratio / (p_z[:, q] / z_bar[:, q]) > 2.0).mean()


def threshold_by_loops(inputs: AttackInputs) -> None:
    """Confidence, a threshold per class, every value tried on all values."""
    assert inputs.shadow_logits is not None
    powers = np.exp(inputs.shadow_logits - inputs.shadow_logits.max(axis=2, keepdims=True))
    p_y = (powers / powers.sum(axis=2, keepdims=True))[:, np.arange(inputs.num_examples), inputs.labels]
    for label in range(CLASSES):
        own = inputs.labels == label
        values, inside, outside = p_y[:, own], inputs.shadow_in[:, own], inputs.shadow_out[:, own]
        held, rest = values[inside], values[outside]
        max((held >= t).mean() + (rest < t).mean() for t in np.concatenate([held, rest]))


STRAIGHTFORWARD: dict[str, tuple[Callable[[AttackInputs], None], int]] = {
    "lira": (lira_by_loops, 1),
    "rmia": (rmia_by_loops, 1),
    "confidence": (threshold_by_loops, 2),
}


def measure_straightforward(name: str, shape: tuple[int, int, int], examples: int) -> float:
    """Seconds of the straightforward version, scaled to all examples."""
    run, power = STRAIGHTFORWARD[name]
    inputs = made_up(shape[0], examples, shape[2]).leave_out(0)
    started = time.perf_counter()
    run(inputs)
    return (time.perf_counter() - started) * (shape[1] / examples) ** power


def alone(function: Callable[..., object], *args: object) -> object:
    """Run in a fresh process, so that memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpText)
    parser.add_argument("--attacks", nargs="+", choices=list(ATTACKS), default=list(ATTACKS), metavar="NAME")
    parser.add_argument("--models", type=int, default=17)
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--queries", type=int, default=2)
    parser.add_argument("--recipe", choices=RECIPES, default="auto", help="of the attack networks")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of torch, for the attack networks")
    parser.add_argument("--straightforward-examples", type=int, default=1_000)
    parser.add_argument("--no-straightforward", action="store_true")
    parser.add_argument("--each", action="store_true", help="every model a target, of the attacks with a way for it")
    parser.add_argument("--output", type=Path, help="write the table to this CSV as well")
    args = parser.parse_args(argv)
    shape = (args.models, args.examples, args.queries)
    rows: list[dict[str, object]] = []
    if args.each:
        able = [name for name in args.attacks if ATTACKS[name].each]
        if not able:
            have = ", ".join(name for name, attack in ATTACKS.items() if attack.each)
            parser.error(f"argument --each: none of --attacks has a way for every target at once; {have} has")
        rows = [alone(measure_each, name, shape) for name in able]  # type: ignore[misc]
    for name in args.attacks if not args.each else ():
        row: dict[str, object] = alone(measure, name, shape, args.recipe, args.threads)  # type: ignore[assignment]
        if name in STRAIGHTFORWARD and not args.no_straightforward:
            slow = float(alone(measure_straightforward, name, shape, args.straightforward_examples))  # type: ignore[arg-type]
            faster = round(slow / float(str(row["seconds"])), 1)
            row |= {"straightforward_seconds": round(slow, 1), "times_faster": faster}
        rows.append(row)
        print(row, flush=True)
    frame = pd.DataFrame(rows).assign(models=args.models, examples=args.examples, queries=args.queries)
    print(frame.to_string(index=False), f"\n{platform.processor() or platform.machine()}")
    if args.output is not None:
        write_text(args.output, frame.to_csv(index=False, lineterminator="\n"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Files from strangers: code in pickles, bombs, names and paths that lead outside, script and formulas in text.

Each kind is tried with and without the environment variable that makes torch load unsafely where a program lets it.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.faults.children import Ended
from tests.faults.sweeps import LEAST, ONE_PROCESS, TINY, model_argv, undisturbed, undisturbed_model
from tests.faults.trials import Tally, Trial

FORCE = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
RUN = Path("runs/dpf/sparsity_0.6/synthetic")
EVALUATE = ("--attacks", "loss", "--device", "cpu", "--num-threads", "1")
BOMB = 1 << 30  # bytes that a small file would grow to
ROOM = 300 << 20  # bytes that a command may take beside what the server has
SCRIPT = "<script>alert(1)</script>"
FORMULA = "=HYPERLINK(1)"
Forgery = Callable[[Trial, Path, Path], tuple[Ended, str]]


class _Payload:
    """Unpickling it writes the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, (f"touch {self.canary}",))


def stranger(trial: Trial) -> Tally:
    """A forged folder or file is given to the command that reads it."""
    forge = FORGERIES[trial.number // 2 % len(FORGERIES)]
    work, outside = trial.folder / "deep" / "work", trial.folder / "deep" / "outside"
    work.mkdir(parents=True)
    outside.mkdir()
    (outside / "kept").write_text("as it was")
    end, wrong = forge(trial, work, outside / "canary")
    before = {"outside/kept"}
    found = {path.relative_to(work.parent).as_posix() for path in outside.rglob("*")}
    strays = {path.name for path in trial.folder.iterdir()} | {path.name for path in work.parent.iterdir()}
    if (outside / "canary").exists():
        wrong = "what the file holds was executed"
    elif found != before or strays != {"deep", "work", "outside"} or (outside / "kept").read_text() != "as it was":
        wrong = f"written outside: {sorted(found - before) or sorted(strays)}"
    elif "Traceback" in end.err:
        wrong = wrong or f"a traceback: {end.err[-400:]}"
    return Tally(wrong != NOT_INJECTED, not wrong, f"{forge.__name__}: {wrong or f'exit code {end.code}'}")


NOT_INJECTED = "the forged file does nothing even where it is trusted"


def _env(trial: Trial) -> dict[str, str]:
    return FORCE if trial.number % 2 else {}


def _is_live(trial: Trial, path: Path, canary: Path) -> bool:
    """Whether a trusting program would execute the file's code."""
    trial.server.run("train", [], canary.parent, hooks=[("load_unsafely", (str(path),))])
    live = canary.exists()
    canary.unlink(missing_ok=True)
    return live


def _expect(end: Ended, codes: tuple[int, ...], *words: str) -> str:
    if end.code not in codes:
        return f"exit code {end.code}: {end.err[-300:]}"
    missing = [word for word in words if word not in end.err]
    return f"no word of {missing[0]!r}: {end.err[-300:]}" if missing else ""


def _finished(trial: Trial, work: Path) -> None:
    shutil.copytree(undisturbed(trial, "least", LEAST)[2], work, dirs_exist_ok=True)


def code_in_a_training_state(trial: Trial, work: Path, canary: Path) -> tuple[Ended, str]:
    """Sealed, so that only the way of loading stands between it and execution."""
    import torch

    from artifacts.checkpoint import save_state

    shutil.copytree(undisturbed_model(trial)[1], work, dirs_exist_ok=True)
    path = work / RUN / "checkpoint.pth"
    (work / RUN / "experiment_summary.json").unlink()
    content = torch.load(path, map_location="cpu", weights_only=True)
    save_state(path, {**content, "seconds": _Payload(canary)}, keep=work / RUN / "checkpoint_previous.pth")
    live = _is_live(trial, path, canary)
    end = trial.server.run("run_experiment", model_argv(), work, env=_env(trial))
    return end, _expect(end, (0,), "checkpoint.pth") if live else NOT_INJECTED


def code_in_final_weights(trial: Trial, work: Path, canary: Path) -> tuple[Ended, str]:
    """With a summary that vouches for it, and no signals, so that the evaluation has to ask the model."""
    import torch

    from artifacts.run_dir import RunDir

    _finished(trial, work)
    path = work / RUN / "best_model.pth"
    content = torch.load(path, map_location="cpu", weights_only=True)
    torch.save({**content, "more": _Payload(canary)}, path)
    run = RunDir(work / RUN)
    run.write_summary(json.loads(run.summary.read_text()))
    (work / RUN / "signals.npz").unlink()
    live = _is_live(trial, path, canary)
    end = trial.server.run("mia.unified_mia_evaluation", EVALUATE, work, env=_env(trial))
    return end, _expect(end, (1, 3), "best_model.pth") if live else NOT_INJECTED


def code_in_weights_to_start_from(trial: Trial, work: Path, canary: Path) -> tuple[Ended, str]:
    """`--pretrained`, as a plain pickle or in torch's own format."""
    import torch

    path = work / "start.pth"
    if trial.number // 2 // len(FORGERIES) % 2:
        path.write_bytes(pickle.dumps({"weights": _Payload(canary)}))
    else:
        torch.save({"weights": _Payload(canary)}, path)
    live = _is_live(trial, path, canary)
    end = trial.server.run("run_experiment", model_argv("--pretrained", path.name), work, env=_env(trial))
    return end, _expect(end, (1, 2, 3), "start.pth") if live else NOT_INJECTED


def _npz(path: Path, arrays: dict[str, bytes], compression: int) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in arrays.items():
            with archive.open(name + ".npy", "w", force_zip64=True) as member:
                for start in range(0, len(content), 1 << 24):
                    member.write(content[start : start + (1 << 24)])


def code_in_signals(trial: Trial, work: Path, canary: Path) -> tuple[Ended, str]:
    """An array of Python objects."""
    _finished(trial, work)
    path = work / RUN / "signals.npz"
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez(path, allow_pickle=True, **{**arrays, "pool": np.array([_Payload(canary)], dtype=object)})
    live = _is_live(trial, path, canary)
    end = trial.server.run("mia.unified_mia_evaluation", EVALUATE, work, env=_env(trial))
    return end, _expect(end, (0,), "signals.npz") if live else NOT_INJECTED


def _header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def bomb_in_signals(trial: Trial, work: Path, canary: Path) -> tuple[Ended, str]:
    """A megabyte that unpacks to a gigabyte; or a header that promises a terabyte."""
    _finished(trial, work)
    path = work / RUN / "signals.npz"
    with zipfile.ZipFile(path) as archive:
        parts = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
    if trial.number % 2:
        parts["logits"] = _header((1 << 20, 1 << 18))
    else:
        parts["logits"] = _header((BOMB // 40, 10)) + bytes(BOMB // 40 * 40)
    _npz(path, parts, zipfile.ZIP_DEFLATED)
    if path.stat().st_size > BOMB // 100:
        return _nothing(trial, work), NOT_INJECTED
    end = trial.server.run("mia.unified_mia_evaluation", EVALUATE, work, env=_env(trial))
    return end, _expect(end, (0,), "signals.npz") or _room(trial, work, end)


def bomb_in_a_checkpoint(trial: Trial, work: Path, canary: Path) -> tuple[Ended, str]:
    """A torch file, packed: torch writes none, but would read one."""
    import torch

    plain = work / "plain.pth"
    torch.save({"weights": {"a": torch.zeros(BOMB // 4)}}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(work / "start.pth", "w", zipfile.ZIP_DEFLATED) as target:
        for part in source.infolist():
            target.writestr(part.filename, source.read(part))
    plain.unlink()
    if (work / "start.pth").stat().st_size > BOMB // 100:
        return _nothing(trial, work), NOT_INJECTED
    end = trial.server.run("run_experiment", model_argv("--pretrained", "start.pth"), work, env=_env(trial))
    return end, _expect(end, (1, 2, 3), "start.pth") or _room(trial, work, end)


def _nothing(trial: Trial, work: Path) -> Ended:
    return trial.server.run("train", ["--version"], work)


def _room(trial: Trial, work: Path, end: Ended) -> str:
    more = end.memory - _nothing(trial, work).memory
    return f"it took {more >> 20} MiB" if more > ROOM else ""


def names_that_lead_outside(trial: Trial, work: Path, canary: Path) -> tuple[Ended, str]:
    """A stored configuration and a plan whose data set is a path, and a run that asks to be repeated from it."""
    _finished(trial, work)
    fields = json.loads((work / RUN / "config.json").read_text())
    del fields["fingerprint"], fields["schema_version"]
    away = {**fields, "dataset_name": "../../../../outside/canary"}
    (work / "runs/planned_cells.json").write_text(json.dumps([away, {**fields, "dataset_name": str(canary)}]))
    for name, value in (("a", away["dataset_name"]), ("b", str(canary)), ("c", "..")):
        shutil.copytree(work / RUN, work / "runs" / name)
        (work / "runs" / name / "config.json").write_text(json.dumps({**fields, "dataset_name": value}))
    argv = [*TINY, *ONE_PROCESS, *LEAST, "--skip-existing"]
    trained = trial.server.run("train", argv, work, env=_env(trial))
    end = trial.server.run("mia.unified_mia_evaluation", EVALUATE, work, env=_env(trial))
    return end, _expect(end, (0, 2, 3)) or _expect(trained, (0, 2, 3)) or ("a traceback" * ("Traceback" in trained.err))


def flags_that_lead_outside(trial: Trial, work: Path, canary: Path) -> tuple[Ended, str]:
    """`--config` with a name that is a path."""
    name = ("../../outside/canary", str(canary), "..", ".", "a/../../x", "~root", "x\x00y")[trial.rng.integers(7)]
    (work / "flags.json").write_text(json.dumps({"name": name, "dataset": "synthetic", "layers": 8}))
    end = trial.server.run("run_experiment", ["--config", "flags.json"], work, env=_env(trial))
    return end, _expect(end, (2,), "--name")


def links_that_lead_outside(trial: Trial, work: Path, canary: Path) -> tuple[Ended, str]:
    """A run folder, unpacked from an archive say, whose files are links to a file elsewhere."""
    kept = canary.parent / "kept"
    folder = work / RUN
    folder.mkdir(parents=True)
    for name in (
        *("run.log", ".lock.holder", "best_model.pth", "checkpoint.pth", "checkpoint_previous.pth"),
        *("history.csv", "signals.npz", "failed.json", ".writing-left", *([".lock"] if trial.number % 2 else [])),
    ):
        (folder / name).symlink_to(kept)
    shutil.copy(undisturbed_model(trial)[1] / RUN / "config.json", folder / "config.json")
    end = trial.server.run("run_experiment", model_argv(), work, env=_env(trial))
    return end, _expect(end, (0, 1, 2, 3, 4))


def script_in_names(trial: Trial, work: Path, canary: Path) -> tuple[Ended, str]:
    """Folders named like HTML and like a formula: text in the report, quoted in the tables."""
    _finished(trial, work)
    cell = work / RUN
    for name in (f"<img src=x onerror=alert(1)>{SCRIPT.replace('/', '')}", FORMULA, "+1", "@sum", "-2"):
        shutil.copytree(cell, work / "runs" / name)
        for config in (work / "runs" / name).rglob("config.json"):
            fields = json.loads(config.read_text())
            config.write_text(json.dumps({**fields, "seed": fields["seed"]}))
    shutil.rmtree(work / "runs/dpf")
    end = trial.server.run("mia.unified_mia_evaluation", EVALUATE, work, env=_env(trial))
    return end, _expect(end, (0, 3)) or _live_text(work)


def script_in_tables(trial: Trial, work: Path, canary: Path) -> tuple[Ended, str]:
    """Forged result tables given to the report."""
    _finished(trial, work)
    results = work / "results/mia"
    for path in results.glob("*.csv"):
        text = path.read_text().replace("dpf_0.6_synthetic", SCRIPT).replace(",synthetic,", f",{FORMULA},")
        path.write_text(text)
    story = json.loads((results / "evaluation.json").read_text())
    story.update(problems=[SCRIPT], notes={SCRIPT: {"loss": SCRIPT}}, machine={**story["machine"], "device": SCRIPT})
    (results / "evaluation.json").write_text(json.dumps(story))
    end = trial.server.run("mia.report", ["--results-dir", "results/mia"], work, env=_env(trial))
    if end.code != 0:
        return end, "" if "Traceback" not in end.err else f"a traceback: {end.err[-400:]}"
    return end, "" if SCRIPT not in (results / "report.html").read_text() else "script in the report"


def _live_text(work: Path) -> str:
    report = (work / "results/mia/report.html").read_text(encoding="utf-8")
    if "<img src=x" in report or "<script>alert" in report:
        return "markup in the report"
    for path in [*work.glob("*.csv"), *work.glob("results/mia/*.csv")]:
        cells = [cell.strip('"') for line in path.read_text(encoding="utf-8").splitlines() for cell in line.split(",")]
        live = [cell for cell in cells if cell.startswith(("=", "+1", "@", "-2\t")) or cell == "-2"]
        if any(cell.startswith(("=", "+", "@")) for cell in live):
            return f"{path.name} holds the cell {live[0]!r}, which a spreadsheet would execute"
    return ""


def json_without_end(trial: Trial, work: Path, canary: Path) -> tuple[Ended, str]:
    """Nested a hundred thousand deep, or a number of a million digits, where configuration and summary should be."""
    _finished(trial, work)
    text = "[" * 100_000 if trial.number % 2 else '{"epochs": ' + "9" * 1_000_000 + "}"
    for name in ("config.json", "experiment_summary.json"):
        (work / RUN / name).write_text(text)
    (work / "runs/planned_cells.json").write_text(text)
    end = trial.server.run("mia.unified_mia_evaluation", EVALUATE, work, env=_env(trial))
    return end, _expect(end, (1, 2, 3))


FORGERIES: tuple[Forgery, ...] = (
    *(code_in_a_training_state, code_in_final_weights, code_in_weights_to_start_from, code_in_signals),
    *(bomb_in_signals, bomb_in_a_checkpoint, names_that_lead_outside, flags_that_lead_outside),
    *(links_that_lead_outside, script_in_names, script_in_tables, json_without_end),
)
TRIES = 2 * len(FORGERIES)

"""A run's folder: every file name in it, and what "finished" means."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.atomic_writes import clear_temporaries, file_hash, read_json, write_text
from configs.errors import UsageError
from configs.experiment import SCHEMA_VERSION, ExperimentConfig, differences
from pruning.registry import prunes, stored_config

MODEL_FILE = "best_model.pth"
EXPORTED = SPARSE_FILE, DENSE_FILE, CARD_FILE = "sparse.safetensors", "state_dict.pth", "MODEL_CARD.md"
SHADOW_FOLDER = re.compile(r"shadow_\d{3,}")
FORK_STATE = re.compile(r"fork_\d{1,9}\.pth")
OWN = "experiment_summary.json"
# What stands beside cells' names in exposure.npz.
COLUMNS = ("index", "label")
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def cell_folder(config: ExperimentConfig, runs_dir: Path, name: str | None = None) -> Path:
    """The folder of a cell's target: `runs/<name>[/<control>][/train_seed_N]`, or
    `runs/<method>[/sparsity_S]/<dataset>[/seed_N][/disjoint][/<control>][/train_seed_N]`; see `control_part`.

    Pairs and balanced splits share their folders: a folder made before there were pairs is found again.
    """
    return training_folder(_first_training(config, runs_dir, name) / control_part(config), config.train_seed)


def control_part(config: ExperimentConfig) -> str:
    """What a control's folder and name have beside those of the cell that it is a control of; empty for all others."""
    return {"accuracy": f"epochs_{config.epochs}", "size": f"channels_{config.channels}"}.get(config.control or "", "")


def training_folder(first: Path, train_seed: int) -> Path:
    """The folder of a replicate, below that of its first training (train seed 0)."""
    return first / f"train_seed_{train_seed}" if train_seed else first


def _first_training(config: ExperimentConfig, runs_dir: Path, name: str | None) -> Path:
    if name is not None:
        if not SAFE_NAME.fullmatch(name):
            raise UsageError(f"argument --name: {name!r} is not allowed; use letters, digits, '.', '_' and '-'")
        if name in COLUMNS:
            raise UsageError(f"argument --name: {name!r} is a column of the tables; give another name")
        return runs_dir / name
    for part in (config.method, config.dataset_name):
        if not isinstance(part, str) or not SAFE_NAME.fullmatch(part):
            raise UsageError(f"{part!r} is no name of a folder; use letters, digits, '.', '_' and '-'")
    folder = runs_dir / config.method
    if prunes(config.method):
        folder /= f"sparsity_{config.sparsity:g}"
    folder /= config.dataset_name
    folder = folder if config.seed == 0 else folder / f"seed_{config.seed}"
    return folder / config.split if config.split == "disjoint" else folder


@dataclass(frozen=True)
class RunDir:
    """One model's folder."""

    path: Path

    @classmethod
    def of(cls, config: ExperimentConfig, runs_dir: Path, name: str | None = None) -> RunDir:
        """Where the model with this configuration lives."""
        folder = cell_folder(config, runs_dir, name)
        return cls(folder if config.model_index == 0 else folder / f"shadow_{config.model_index - 1:03d}")

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def model(self) -> Path:
        return self.path / MODEL_FILE

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pth"

    @property
    def older_checkpoint(self) -> Path:
        return self.path / "checkpoint_previous.pth"

    def fork_state(self, epoch: int) -> Path:
        """Where a dense run keeps its state after so many epochs for runs that go on from there in another way."""
        return self.path / f"fork_{epoch}.pth"

    @property
    def fork_states(self) -> list[Path]:
        """The states that are kept now, in no order."""
        return [path for path in self.path.glob("fork_*.pth") if FORK_STATE.fullmatch(path.name)]

    @property
    def has_state(self) -> bool:
        """Whether the run is over, or has a checkpoint of its own to go on from."""
        return any(path.is_file() for path in (self.summary, self.failure, self.checkpoint, self.older_checkpoint))

    @property
    def failure(self) -> Path:
        return self.path / "failed.json"

    @property
    def history(self) -> Path:
        return self.path / "history.csv"

    @property
    def signals(self) -> Path:
        return self.path / "signals.npz"

    @property
    def traces(self) -> Path:
        """Written with `--trace-losses` alone."""
        return self.path / "loss_traces.npz"

    @property
    def summary(self) -> Path:
        return self.path / OWN

    @property
    def export(self) -> Path:
        """The folder of `--export`, with the files EXPORTED."""
        return self.path / "export"

    @property
    def log(self) -> Path:
        return self.path / "run.log"

    def read_config(self) -> ExperimentConfig:
        """The stored configuration; UsageError or OSError when it cannot be read."""
        return stored_config(read_json(self.config))

    def read_summary(self) -> dict[str, Any]:
        """The stored summary; UsageError or OSError when it cannot be read, or is not what was written."""
        summary = read_json(self.summary)
        if not isinstance(summary, dict) or not isinstance(summary.get("hashes"), dict):
            raise UsageError(f"{self.summary} is not a summary of a run")
        hashes = summary["hashes"]
        named = {path.name for path in self._vouched_for}
        # An earlier version left the summary's own digest out.
        if hashes.keys() != named and (hashes.keys() != {*named, OWN} or hashes[OWN] != own_digest(summary)):
            raise UsageError(f"{self.summary.name} is not as it was written (its digest differs)")
        return summary

    @property
    def _vouched_for(self) -> tuple[Path, ...]:
        return (self.config, self.model, self.history)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write the completion marker; must be the last file of a run. It vouches for the others and for itself.

        Signals are not among its hashes: they are a cache that later commands may extend, and carry their own digest.
        """
        content = {**summary, "hashes": {path.name: file_hash(path) for path in self._vouched_for}}
        content["hashes"][OWN] = own_digest(content)
        write_text(self.summary, json.dumps(content, indent=2) + "\n")

    def damage(self) -> str | None:
        """None if the finished run's files are those its summary vouches for, else what is wrong, in words."""
        try:
            hashes = self.read_summary()["hashes"]
            for path in self._vouched_for:
                if not path.is_file():
                    return f"{path.name} is missing"
                if file_hash(path) != hashes.get(path.name):
                    return f"{path.name} is not the file that the run wrote (its hash differs)"
        except (OSError, ValueError) as error:
            return f"experiment_summary.json cannot be used ({one_line(error)})"
        return None

    def write_failure(self, config: ExperimentConfig, reason: str) -> None:
        """Mark the run as one that cannot be trained: the same configuration would end in the same way."""
        marker = {"fingerprint": config.fingerprint(), "reason": reason}
        write_text(self.failure, json.dumps(marker, indent=2) + "\n")

    def read_failure(self, config: ExperimentConfig) -> str | None:
        """Why this very configuration cannot be trained here, if that is known."""
        try:
            marker = read_json(self.failure)
            if isinstance(marker, dict) and marker.get("fingerprint") == config.fingerprint():
                return " ".join(str(marker.get("reason", "")).split())[:500]
        except (OSError, UsageError):
            pass  # without a marker that can be read the run is tried again, and says again what is wrong
        return None

    def clear(self) -> None:
        """Delete this run's own files, the summary first; shadows and foreign files stay."""
        for path in (
            *(self.summary, self.failure, self.signals, self.model, self.checkpoint, self.older_checkpoint),
            *(self.traces, self.history, self.config, self.log),
            *(self.export / name for name in EXPORTED),  # of the weights that go
            *self.fork_states,
        ):
            path.unlink(missing_ok=True)
        clear_temporaries(self.path)


@dataclass(frozen=True)
class RunStatus:
    """What a run folder holds with respect to a configuration.

    kind: new | resume | finished | damaged (finished once, but its files no longer verify; or
    its config.json does not) | failed (its numbers
    stopped being finite, and would again) | stale (another experiment).
    """

    kind: str
    detail: str = ""


def own_digest(content: dict[str, Any]) -> str:
    """sha256 of the canonical JSON of a summary without this very digest."""
    hashes = {name: value for name, value in content["hashes"].items() if name != OWN}
    text = json.dumps({**content, "hashes": hashes}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def inspect_run(run: RunDir, config: ExperimentConfig, verify: bool = True) -> RunStatus:
    """Compare a run folder with the configuration that wants it."""
    if not run.config.is_file():
        if any(path.exists() for path in (run.summary, run.model, run.checkpoint)):
            return RunStatus("stale", "the folder holds a model without a config.json")
        return RunStatus("new")
    try:
        fields = read_json(run.config)
        stored = stored_config(fields)
    except (OSError, ValueError) as error:
        return RunStatus("stale", f"config.json cannot be read ({one_line(error)})")
    if fields.get("schema_version") == SCHEMA_VERSION and fields.get("fingerprint") != stored.fingerprint():
        return RunStatus("damaged", "config.json is not as it was written (its fingerprint differs)")
    if stored.fingerprint() != config.fingerprint():
        return RunStatus("stale", differences(config, stored))
    if run.summary.is_file():
        damage = (run.damage() or _other_start(run, config)) if verify else None
        return RunStatus("damaged", damage) if damage else RunStatus("finished")
    failure = run.read_failure(config)
    if failure is not None:
        return RunStatus("failed", failure)
    return RunStatus("resume" if run.checkpoint.is_file() or run.older_checkpoint.is_file() else "new")


def _other_start(run: RunDir, config: ExperimentConfig) -> str | None:
    """What is wrong with a finished run whose start, a run of its own sweep, was trained to other weights since."""
    if config.pretrained_run is None:
        return None
    start = RunDir(Path(str(config.pretrained)).parent)
    try:
        now = start.read_summary()["hashes"][MODEL_FILE]
        then = run.read_summary().get("pretrained_hash")
    except (OSError, ValueError):
        return None  # no start to compare with: what is wrong there is said there
    return None if now == then else f"it started from other weights than {start.model} has now"


def one_line(error: BaseException) -> str:
    """An exception's message folded to one line."""
    return " ".join(str(error).split()) or type(error).__name__


def experiment_name(config: ExperimentConfig, run: RunDir) -> str:
    """The name of the cell in tables: the folder's own name for `--name` runs, else method, sparsity and data set.

    What makes a control, and a train seed other than 0, end it, as they end the path.
    """
    folder = run.path if config.model_index == 0 else run.path.parent
    again = [f"train_seed_{config.train_seed}"] if config.train_seed else []
    folder = folder.parent if [folder.name] == again else folder
    if control_part(config):
        again = [control_part(config), *again]
        folder = folder.parent if folder.name == again[0] else folder
    if folder.name not in (config.dataset_name, f"seed_{config.seed}", config.split):
        return "_".join([folder.name, *again])
    parts = [config.method] + ([f"{config.sparsity:g}"] if prunes(config.method) else []) + [config.dataset_name]
    parts += [f"seed_{config.seed}"] if config.seed else []
    return "_".join(parts + ([config.split] if config.split == "disjoint" else []) + again)

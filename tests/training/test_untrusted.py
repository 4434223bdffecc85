"""Files of tensors from strangers: nothing runs, nothing grows, nothing that does not fit is taken."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from artifacts.atomic_writes import file_hash
from artifacts.checkpoint import load_model, load_start_weights, load_state, save_state
from artifacts.run_dir import RunDir, inspect_run
from artifacts.signals import QuerySettings
from configs.errors import RunError, UsageError
from configs.experiment import ExperimentConfig
from configs.machine import Machine, Places
from data.inputs import open_data
from pruning.registry import stored_config
from tests.repository import REPOSITORY
from training.ask import load_for_query
from training.run import CHECKPOINT_KEYS, run_one

Make = Callable[..., ExperimentConfig]


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("executed",))


def zipped(content: bytes, kind: int) -> bytes:
    """A torch file packed anew."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w", kind) as new:
        for part in old.infolist():
            new.writestr(part.filename, old.read(part))
    return made.getvalue()


def saved(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def legacy(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


MODEL = {"format": 1, "fingerprint": "x", "masks": {}}
FORGED = {
    "code": saved({**MODEL, "weights": Evil()}),
    "code in a legacy file": legacy({**MODEL, "weights": Evil()}),
    "a pickle": pickle.dumps({**MODEL, "weights": Evil()}),
    "bomb": zipped(saved({**MODEL, "weights": {"a": torch.zeros(64 << 20)}}), zipfile.ZIP_DEFLATED),
    "stretched": saved({**MODEL, "weights": {"a": torch.zeros(1).expand(1 << 40)}}),
    "sparse": saved({**MODEL, "weights": {"a": torch.zeros(4, 4).to_sparse()}}),
    "meta": saved({**MODEL, "weights": {"a": torch.empty(1 << 40, device="meta")}}),
    "names": saved({**MODEL, "weights": {7: torch.zeros(1)}}),
    "no tensors": saved({**MODEL, "weights": {"a": 1}}),
    "list": saved([1]),
    "empty": b"",
}


@pytest.mark.parametrize("forced", ["", "1"])
def test_forged_models_are_refused_whatever_the_environment_says(forced: str, tmp_path: Path) -> None:
    """In a process of its own, since torch reads the variable that forces unsafe loading from the environment."""
    for name, content in FORGED.items():
        (tmp_path / f"{name}.pth").write_bytes(content)
    code = (
        "import sys\nfrom pathlib import Path\nfrom configs.errors import RunError\n"
        "from artifacts.checkpoint import load_model, load_start_weights\n"
        "for name in sorted(Path('.').glob('*.pth')):\n"
        "    for load in (load_model, load_start_weights):\n"
        "        try: load(name)\n"
        "        except RunError as error: assert len(str(error).splitlines()) == 1\n"
        "        else: print('taken', name)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": forced}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(FORGED)


@pytest.fixture
def trained(make_config: Make, tmp_path: Path) -> tuple[ExperimentConfig, RunDir]:
    config, run = make_config(epochs=2), RunDir(tmp_path / "run")
    run_one(config, run, Places(), Machine(device="cpu", checkpoint_seconds=0.0), QuerySettings(1, samia=False))
    return config, run


def changed(state: dict[str, Any], case: str) -> dict[str, Any]:
    first = next(iter(state["model"]))
    if case == "a key is missing":
        del state["model"][first]
    elif case == "another shape":
        state["pruner"]["leaf"] = state["pruner"]["leaf"][:1]  # would be spread over all weights
    elif case == "another type":
        state["model"][first] = state["model"][first].double()
    elif case == "a step that is text":
        state["step"] = "4"
    elif case == "a step past the end":
        state["step"] = 1000
    elif case == "momentum of another shape":
        next(iter(state["optimizer"]["state"].values()))["momentum_buffer"] = torch.zeros(1)
    elif case == "momentum of nothing":
        state["optimizer"]["state"][999] = {"momentum_buffer": torch.zeros(1)}
    else:
        state["history"] = [1, 2]
    return state


@pytest.mark.parametrize(
    "case",
    [
        *("a key is missing", "another shape", "another type", "a step that is text", "a step past the end"),
        *("momentum of another shape", "momentum of nothing", "a history of numbers"),
    ],
)
def test_a_forged_state_with_a_right_digest_is_not_resumed_from(
    case: str, trained: tuple[ExperimentConfig, RunDir], caplog: pytest.LogCaptureFixture
) -> None:
    config, run = trained
    model = run.model.read_bytes()
    run.summary.unlink()
    state = changed(load_state(run.checkpoint, CHECKPOINT_KEYS), case)
    del state["format"]
    save_state(run.checkpoint, state, run.older_checkpoint)
    run.older_checkpoint.unlink()  # the sound one
    run_one(config, run, Places(), Machine(device="cpu"), QuerySettings(1, samia=False))
    assert [
        "training starts again" in record.message for record in caplog.records if record.levelname == "WARNING"
    ] == [True]
    assert run.model.read_bytes() == model


def test_weights_are_checked_against_their_hash_and_their_architecture(
    trained: tuple[ExperimentConfig, RunDir], make_config: Make
) -> None:
    config, run = trained
    data, _ = open_data(config, "datasets")
    device = torch.device("cpu")
    load_for_query(config, data, run, device, file_hash(run.model))
    with pytest.raises(RunError, match="its hash differs"):
        load_for_query(config, data, run, device, "0" * 64)
    huge = make_config(layers=6 * 100 + 2, width_mult=64)
    with pytest.raises(RunError, match="does not fit resnet"):
        load_for_query(huge, data, run, device, file_hash(run.model))
    assert load_start_weights(run.model).keys() == load_model(run.model).weights.keys()
    assert torch.load(run.model, weights_only=True)["fingerprint"] == config.fingerprint()


@pytest.mark.parametrize("file", ["experiment_summary.json", "config.json"])
def test_a_changed_figure_in_a_summary_or_a_configuration_is_noticed(
    file: str, trained: tuple[ExperimentConfig, RunDir]
) -> None:
    config, run = trained
    path = run.path / file
    text = path.read_text()
    for i, letter in enumerate(text):
        forged = text[:i] + ("7" if letter != "7" else "3") + text[i + 1 :]
        # the last digit of a long number may not change its value
        if letter.isdigit() and json.loads(forged) != json.loads(text):
            path.write_text(forged)
            assert inspect_run(run, config).kind in ("damaged", "stale"), text[max(0, i - 30) : i + 10]
    path.write_text(text)
    assert inspect_run(run, config).kind == "finished"


def test_summaries_of_an_earlier_version_count(trained: tuple[ExperimentConfig, RunDir]) -> None:
    config, run = trained
    summary = json.loads(run.summary.read_text())
    del summary["hashes"]["experiment_summary.json"]
    run.summary.write_text(json.dumps(summary))
    assert inspect_run(run, config).kind == "finished"


@pytest.mark.parametrize(
    "fields",
    [
        {"dataset_name": "../../outside"},
        {"dataset_name": "/outside"},
        {"method": ".."},
        {"dataset_name": ["a"]},
        {"epochs": "4"},
        {"epochs": True},
        {"model_index": "0"},
        {"seed": 1e3},
    ],
)
def test_a_strangers_configuration_leads_nowhere(
    fields: dict[str, Any], trained: tuple[ExperimentConfig, RunDir], tmp_path: Path
) -> None:
    config, _ = trained
    stored = {**json.loads(config.to_json()), **fields}
    with pytest.raises(UsageError):
        RunDir.of(stored_config(stored), tmp_path)

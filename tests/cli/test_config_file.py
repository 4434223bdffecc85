"""--config takes JSON and YAML with the same checks; --print-config prints what --config takes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import run_experiment
import train
from cli.parser import parse
from configs.errors import UsageError
from tests.cli.scripts import EXPERIMENT, TINY, TRAIN, call


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(text: str, script: Any = train, name: str = "c.yaml") -> Any:
    Path(name).write_text(text, encoding="utf-8")
    return parse(script.build_parser(), ["--config", name])


def test_yaml_and_json_say_the_same() -> None:
    yaml = read("epochs: 7\nlr: 0.25\nmethods: [dense, static]\nsparsities:\n- 0.5\n- 0.75\nwandb: true\npool_size:\n")
    values = {"epochs": 7, "lr": 0.25, "methods": ["dense", "static"], "sparsities": [0.5, 0.75], "wandb": True}
    assert yaml.__dict__ | {"config": ""} == read(json.dumps(values), name="c.json").__dict__ | {"config": ""}
    assert (yaml.epochs, yaml.sparsities, yaml.wandb, yaml.pool_size) == (7, [0.5, 0.75], True, None)


def test_the_traps_of_yaml_1_1_are_none() -> None:
    args = read(
        "lr: 1e-3\nweight_decay: 5E-4\nwandb: no\nquiet: Off\nskip-existing: Yes\nseed: 010\nwandb_tags: [no, 3.10]"
    )
    assert (args.lr, args.weight_decay, args.wandb, args.quiet) == (1e-3, 5e-4, False, False)
    assert args.skip_existing is True
    assert args.seed == 10  # not octal
    assert args.wandb_tags == ["no", "3.10"]
    named = read("name: 2024-01-01\nprune: false", run_experiment)
    assert (named.name, named.prune) == ("2024-01-01", False)
    assert read('name: "null"', run_experiment).name == "null"


def test_explicit_flags_override_the_file_and_the_file_a_preset() -> None:
    Path("c.yml").write_text("preset: none of its business\n", encoding="utf-8")
    with pytest.raises(UsageError, match="'preset', which is no flag"):
        parse(train.build_parser(), ["--config", "c.yml"])
    Path("c.yml").write_text("epochs: 3\nlr: 0.2\n", encoding="utf-8")
    args = parse(train.build_parser(), ["--config", "c.yml", "--preset", "quick", "--epochs", "5"])
    assert (args.epochs, args.lr, args.layers) == (5, 0.2, 8)


BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epochs: [1", ["c.yaml", "not valid YAML", "line"]),
        ("epochs:\n\t- 1", ["not valid YAML", "line 2"]),
        ("- 1\n- 2", ["mapping"]),
        ("just words", ["mapping"]),
        ("", ["mapping"]),
        ("epochs: 1\nepochs: 2", ["sets 'epochs' twice"]),
        ("pool-size: 60\npool_size: 60", ["twice"]),
        ("epochs: {a: 1}", ["line 1"]),
        ("methods: [[dense]]", ["line 1"]),
        ("epochs: [3]", ["--epochs", "one value"]),
        ("epochs: !!int 3", ["tag"]),
        ("epochs: !!python/object/apply:os.system ['touch owned']", ["line 1"]),
        ("name: !!python/name:os.system", ["tag"]),
        ("!!python/object:os.system {a: 1}", ["mapping"]),
        ("wandb: maybe", ["--wandb", "true or false"]),
        ("epochs: yes", ["--epochs", "whole number"]),
        ("epochs: 1.5", ["--epochs", "whole number"]),
        ("lr: .nan", ["--lr"]),
        ("colour: 3", ["colour", "no flag"]),
        ("dry_run: true", ["dry_run", "no flag"]),
        ("wandb_tags: [a, --overwrite]", ["--wandb-tags", "dash"]),
        ("? [a, b]\n: 1", ["line 1"]),
        ("epochs: 1\n---\nepochs: 2", ["not valid YAML"]),
        (BOMB, ["more than a value or a list of values"]),
        ("[" * 3000, ["nested too deeply"]),
        ("# " + "x" * 100_000, ["larger than 100000 bytes"]),
    ],
)
def test_bad_yaml_is_refused_in_one_line(text: str, words: list[str], here: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        read(text)
    line = str(refusal.value)
    assert "\n" not in line
    for word in words:
        assert word in line, line
    assert [path.name for path in here.iterdir()] == ["c.yaml"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"epochs": 1, "epochs": 2}', ["twice"]),
        ('{"epochs": {}}', ["--epochs", "one value"]),
        ('{"epochs": true}', ["--epochs", "whole number"]),
        ('{"name": ["a"]}', ["--name", "one value"]),
        ('{"wandb": "maybe"}', ["--wandb", "true or false"]),
        ('{"wandb_tags": [["a"]]}', ["--wandb-tags"]),
        ('{"a":' * 100_00, ["nested too deeply"]),
    ],
)
def test_bad_json_is_refused_in_one_line(text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as refusal:
        read(text, run_experiment, "c.json")
    for word in words:
        assert word in str(refusal.value), refusal.value


def test_bytes_that_are_no_text() -> None:
    Path("c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        parse(train.build_parser(), ["--config", "c.yaml"])


DPF = ["--prune", "--prune-method", "dpf", "--sparsity", "0.9", "--name", "mine", "--target-epoch", "1"]


@pytest.mark.parametrize("form", ["yaml", "json"])
@pytest.mark.parametrize("flags", [[], DPF])
def test_a_printed_configuration_gives_the_same_run(
    form: str, flags: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(EXPERIMENT, [*TINY, *flags, "--print-config", form]) == 0
    printed = capsys.readouterr().out
    assert list(here.iterdir()) == []
    (here / f"c.{form}").write_text(printed, encoding="utf-8")
    assert call(EXPERIMENT, ["--config", f"c.{form}", "--print-config", form]) == 0
    assert capsys.readouterr().out == printed
    for number, argv in enumerate(([*TINY, *flags], ["--config", f"c.{form}"])):
        assert call(EXPERIMENT, [*argv, "--runs-dir", f"runs{number}"]) == 0
    first, second = (next(here.glob(f"runs{number}/**/config.json")) for number in (0, 1))
    assert first.relative_to(here / "runs0") == second.relative_to(here / "runs1")
    assert json.loads(first.read_text())["fingerprint"] == json.loads(second.read_text())["fingerprint"]


def test_a_printed_sweep_gives_the_same_cells(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sweep.plan

    plan: Callable[..., Any] = sweep.plan.plan_cells
    fingerprints = []

    def planned(*args: Any) -> Any:
        cells = plan(*args)
        fingerprints.append([cell.cell_fingerprint() for cell in cells])
        return cells

    monkeypatch.setattr("cli.sweep.plan_cells", planned)
    assert call(TRAIN, ["--preset", "quick", "--num-targets", "all", "--print-config"]) == 0
    printed = capsys.readouterr().out
    for line in ("layers: 8", "prune_epoch: 20", "prune_freq: 16", "freeze_epoch: 36", "num_targets: all"):
        assert line in printed.splitlines()
    (here / "sweep.yaml").write_text(printed, encoding="utf-8")
    assert call(TRAIN, ["--config", "sweep.yaml", "--print-config"]) == 0
    assert capsys.readouterr().out == printed
    assert len(fingerprints[0]) == 5
    assert fingerprints[0] == fingerprints[1]

"""Flags from a JSON or YAML file, and the resolved flags as such a file."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from configs import own_code
from configs.attacks import AttackOptions
from configs.errors import UsageError
from configs.experiment import ExperimentConfig
from configs.knobs import MethodKnobs, flag_name, later_fields
from configs.machine import EngineOptions, Machine, Places, Talk, Tracking
from configs.suggest import did_you_mean
from configs.sweep import SweepOptions
from pruning.registry import BASELINE, METHODS

LARGEST = 100_000  # bytes of a configuration file
WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
# What a configuration file cannot set: what a command does, as opposed to how.
NO_SETTING = ("help", "version", "config", "preset", "print_config", "dry_run", "status", "watch", "trust_code")
# Fields of a run's own config.json that are not flags, so that `--config runs/.../config.json` repeats a run.
STORED_ONLY = (
    *("schema_version", "fingerprint", "dataset_name", "dataset_hash", "pretrained_hash", "model_index"),
    "pretrained_run",
    *("method", "sparsity", "method_file", "method_hash", "arch_file", "arch_hash"),
    "control",
)
GROUPS = (ExperimentConfig, SweepOptions, AttackOptions, EngineOptions, Machine, Places, Tracking, Talk)


def settings_of(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The flags that a configuration file may set, by name."""
    return {action.dest: action for action in parser._actions if action.dest not in NO_SETTING}


def _values_of(path: Path) -> dict[str, Any]:
    """What a file sets, by name; UsageError, one line, for what is not one JSON object or YAML mapping."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(LARGEST + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"argument --config: {path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UsageError(f"argument --config: {path} is not text in UTF-8") from None
    if len(raw) > LARGEST:
        raise UsageError(f"argument --config: {path} is larger than {LARGEST} bytes; it holds flags only")
    try:
        read = _pairs_of_json if path.suffix == ".json" or text.lstrip().startswith("{") else _pairs_of_yaml
        pairs = read(text)
    except _Refused as refused:
        raise UsageError(f"argument --config: {path} {refused}") from None
    except RecursionError:
        raise UsageError(f"argument --config: {path} is nested too deeply; it holds flags only") from None
    values: dict[str, Any] = {}
    for key, value in pairs:
        name = str(key).replace("-", "_")
        if name in values:
            raise UsageError(f"argument --config: {path} sets {key!r} twice")
        values[name] = value
    return values


def named_methods(path: Path) -> list[str]:
    """The methods that a file names, before its flags can be checked; none where that will fail."""
    try:
        values = _values_of(path)
    except UsageError:
        return []
    methods = values.get("methods")
    named = [*(methods if isinstance(methods, list) else [methods]), values.get("prune_method")]
    if isinstance(values.get("method_file"), str):
        named.append(own_code.form_of(values["method_file"], str(values.get("method"))))
    return [one for one in named if isinstance(one, str)]


def read_tokens(path: Path, parser: argparse.ArgumentParser) -> list[str]:
    """The flags that a file sets, as words of a command line, which its knobs then check like any others.

    UsageError, one line, for what is not one JSON object or YAML mapping of this script's flags.
    """
    known, values = settings_of(parser), _values_of(path)
    if "fingerprint" in values:
        values = _flags_of_stored(values, known)
    unknown = sorted(set(values) - set(known))
    if unknown:
        near = did_you_mean(unknown[0], known)
        raise UsageError(f"argument --config: {path} sets {unknown[0]!r}, which is no flag of this script{near}")
    return as_tokens(values, known)


class _Refused(Exception):
    """What a file holds, in words that follow its name."""


def _pairs_of_json(text: str) -> list[tuple[str, Any]]:
    try:
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except ValueError:
        raise _Refused("is not valid JSON") from None
    if not isinstance(pairs, _Pairs):
        raise _Refused("must hold one JSON object of flags")
    return list(pairs)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it is written, so that a name given twice is seen."""


def _pairs_of_yaml(text: str) -> list[tuple[str, Any]]:
    """Values stay the words they are written as: YAML 1.1 makes `no` a truth value and `1e-3` no number.

    Nodes, never objects: no tag constructs anything and no alias is multiplied out.
    """
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}: {getattr(error, 'problem', '')})" if mark else ""
        raise _Refused(f"is not valid YAML{where}") from None
    if not isinstance(root, yaml.MappingNode) or not _untagged(root):
        raise _Refused("must hold one YAML mapping (or JSON object) of flags")
    return [(str(_scalar(key)), _yaml_value(value)) for key, value in root.value]


def _yaml_value(node: Any) -> Any:
    import yaml

    if isinstance(node, yaml.SequenceNode) and _untagged(node):
        return [_scalar(item) for item in node.value]
    return _scalar(node)


def _scalar(node: Any) -> str | None:
    import yaml

    if not isinstance(node, yaml.ScalarNode):
        raise _Refused(f"holds more than a value or a list of values in line {node.start_mark.line + 1}")
    if not _untagged(node):
        raise _Refused(f"holds the tag {node.tag!r} in line {node.start_mark.line + 1}; tags are not allowed")
    null = node.style is None and node.value in ("", "~", "null", "Null", "NULL")
    return None if null else str(node.value)


def _untagged(node: Any) -> bool:
    return str(node.tag) in {f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str")}


def _flags_of_stored(values: dict[str, Any], known: Mapping[str, argparse.Action]) -> dict[str, Any]:
    method = values.get("method")
    knobs = METHODS[method].Knobs if isinstance(method, str) and method in METHODS else MethodKnobs
    # what a run of an earlier version leaves out it had all the same
    values = later_fields(ExperimentConfig) | later_fields(knobs) | values
    flags = {name: value for name, value in values.items() if name not in STORED_ONLY}
    if isinstance(values.get("arch_file"), str):
        flags["arch"] = own_code.form_of(values["arch_file"], str(values.get("arch")))
    if "prune_method" in known and isinstance(method, str) and method != BASELINE:
        own = isinstance(values.get("method_file"), str)
        given = own_code.form_of(values["method_file"], method) if own else method
        flags |= {"prune": True, "prune_method": given, "sparsity": values.get("sparsity")}
    return flags


def as_tokens(values: Mapping[str, Any], known: Mapping[str, argparse.Action]) -> list[str]:
    """`{"epochs": 50, "wandb": true}` -> `--epochs=50 --wandb`; None and false stand for a flag not given."""
    tokens: list[str] = []
    for name, value in values.items():
        flag, action = flag_name(name), known[name]
        if value is None:
            continue
        if isinstance(value, _Pairs) or (isinstance(value, list) and action.nargs != "+"):
            raise UsageError(f"argument {flag}: takes one value; the configuration file gives more")
        if action.nargs == 0:
            tokens += [flag] if _truth(flag, value) else []
        elif isinstance(value, list):
            tokens += [flag, *_words(flag, value)] if value else []
        else:
            tokens.append(f"{flag}={value}")
    return tokens


def _truth(flag: str, value: Any) -> bool:
    if str(value).lower() not in WORDS:
        raise UsageError(f"argument {flag}: {value!r} is not allowed; give true or false")
    return WORDS[str(value).lower()]


def _words(flag: str, values: Iterable[Any]) -> list[str]:
    """A list's values; none may pass for a flag."""
    words = []
    for value in values:
        if value is None or isinstance(value, list):
            raise UsageError(f"argument {flag}: the configuration file's list must hold values only")
        if str(value).startswith("-"):
            raise UsageError(f"argument {flag}: {value!r} is not allowed in a list; it starts with a dash")
        words.append(str(value))
    return words


def print_config(parser: argparse.ArgumentParser, args: argparse.Namespace, cells: Sequence[ExperimentConfig]) -> None:
    """Write every setting to standard output in the form `args.print_config`, such that --config takes it back.

    cells: the resolved configurations. Where a flag leaves a value to the method, the architecture or the machine, the
    value is theirs; knobs of different methods have different names, so one value a name serves all cells.
    """
    values: dict[str, Any] = {}
    for name in settings_of(parser):
        value = getattr(args, name)
        if name not in ("method", "sparsity"):
            value = next((found for cell in cells if (found := cell.flat().get(name)) is not None), value)
        word = _word_of(name)
        value = list(value) if isinstance(value, tuple) else value
        if isinstance(value, str) or (isinstance(value, list) and name in ("methods", "attacks")):
            value = own_code.as_given(value) if isinstance(value, str) else [own_code.as_given(one) for one in value]
        values[name] = word[0] if word is not None and value == word[1] else value
    if args.print_config == "json":
        print(json.dumps(values, indent=2))
        return
    import yaml

    print(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), end="")


def _word_of(name: str) -> tuple[str, int | None] | None:
    """The word that stands for one value of a knob."""
    fields = (field for group in GROUPS for field in dataclasses.fields(group) if field.name == name)
    return next((field.metadata.get("word") for field in fields), None)

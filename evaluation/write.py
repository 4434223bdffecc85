"""Writing what an evaluation found: tables, per-example arrays, and the report that is drawn from them."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import logging
import platform
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np

from artifacts.atomic_writes import file_hash, write_atomic, write_text
from configs.attacks import ALL_TARGETS, MOST_TARGETS
from configs.errors import UsageError
from configs.version import VERSION
from evaluation.attack import Attacker, CellScores
from evaluation.gather import Evidence
from reporting import page, tables
from reporting.inputs import ABOUT, PICTURES, about_digest, own_parts, read_about
from training.device import describe_machine, pick_device

log = logging.getLogger(__name__)
SUITE_FOLDERS = ("advanced", "wemem")
LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch", "torchvision")


def write_evidence(evidence: Evidence, attacker: Attacker, results_dir: Path, wide_file: Path) -> list[Path]:
    """Every table and array, then the report and its figures; returns what the report consists of, itself first."""
    _say_what_changed(results_dir, wide_file)
    files = {}
    for name, columns in tables.EVIDENCE_TABLES.items():
        rows = getattr(evidence, name)
        write = tables.write_frames if name == "examples" else tables.write_table
        files[f"{name}.csv"] = write(results_dir / f"{name}.csv", rows, columns)
    files |= _write_parquet(results_dir / "examples.parquet", evidence)
    files[wide_file.name] = tables.write_csv(wide_file, tables.wide_table(evidence.cells, evidence.summary))
    suites = {row["suite"] for row in evidence.summary}
    for suite in sorted(suites & set(SUITE_FOLDERS)) if len(suites) > 1 else ():
        of_suite = [row for row in evidence.summary if row["suite"] == suite]
        name = f"{suite}/mia_results.csv"
        files[name] = tables.write_csv(results_dir / name, tables.wide_table(evidence.cells, of_suite))
    for one in evidence.scored:
        name = f"scores/{one.asked.experiment}.npz"
        files[name] = write_arrays(results_dir / name, _scores(one))
    files["exposure.npz"] = write_arrays(results_dir / "exposure.npz", _exposure(evidence))
    files[PICTURES] = write_arrays(results_dir / PICTURES, evidence.exposed_pictures)
    about = {**_about(evidence, attacker), "inputs": _inputs(evidence), "files": files}
    about["digest"] = about_digest(about)
    write_text(results_dir / ABOUT, json.dumps(about, indent=2) + "\n")
    return page.write_report(results_dir)


def _write_parquet(path: Path, evidence: Evidence) -> dict[str, str]:
    """The rows of examples.csv, which are many, where the package for it is there; its sha256 by name."""
    if importlib.util.find_spec("pyarrow") is None:
        path.unlink(missing_ok=True)  # an earlier evaluation's, which had the package
        return {}
    frame = tables.joined(evidence.examples, tables.EVIDENCE_TABLES["examples"])
    write = functools.partial(frame.to_parquet, engine="pyarrow", compression="zstd", index=False)
    return {path.name: write_atomic(path, write)}


def _say_what_changed(results_dir: Path, wide_file: Path) -> None:
    """Warn of files of an earlier evaluation that are not as it wrote them; all of them are about to be replaced."""
    if not (results_dir / ABOUT).is_file():
        return
    try:
        files = read_about(results_dir / ABOUT)["files"]
    except UsageError as error:
        log.warning("%s: all its tables are written anew", error)
        return
    for name, digest in files.items():
        path = wide_file if name == wide_file.name else results_dir / name
        inside = path == wide_file or path.resolve().is_relative_to(results_dir.resolve())
        if inside and path.is_file() and file_hash(path) != digest:
            log.warning("%s is not as the evaluation wrote it (its hash differs): it is computed anew", path)


def _inputs(evidence: Evidence) -> dict[str, Any]:
    """What the tables came from, by cell and model index: sha256 of the files with weights and signals."""
    return {
        one.asked.experiment: {str(index): one.asked.cell.files_of(index) for index in sorted(one.asked.cell.models)}
        for one in evidence.scored
    }


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> str:
    """A compressed .npz, whole or absent; returns the sha256."""
    return write_atomic(path, lambda stream: pack_arrays(stream, arrays))


def pack_arrays(stream: IO[bytes], arrays: Mapping[str, Any]) -> None:
    """A compressed .npz, of the same bytes whenever it is written."""
    # not np.savez: a cell may be called "file", as one of its parameters is
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)


def _scores(one: CellScores) -> dict[str, Any]:
    """`index` and `label` [n], then `target_000/membership`, `target_000/<variant>` [n] a target; NaN: no score."""
    asked = one.asked
    arrays: dict[str, Any] = {"index": asked.index, "label": asked.label}
    for position, target in enumerate(asked.targets):
        arrays[f"target_{target:03d}/membership"] = asked.membership[position]
        having = {key: found for key, found in one.results.items() if position < len(found)}
        arrays |= {f"target_{target:03d}/{key}": found[position].spread() for key, found in having.items()}
    return arrays


def _exposure(evidence: Evidence) -> dict[str, Any]:
    """`index` and `label` [n], then exposures by cell; a further split has its own `split_2/index`, ..."""
    arrays: dict[str, Any] = {}
    for number, split in enumerate(dict.fromkeys(one.asked.split for one in evidence.scored), start=1):
        group = [one for one in evidence.scored if one.asked.split == split]
        prefix = "" if number == 1 else f"split_{number}/"
        arrays |= {f"{prefix}index": group[0].asked.index, f"{prefix}label": group[0].asked.label}
        for one in group:
            if one.asked.experiment in evidence.exposure_scores:
                arrays[prefix + one.asked.experiment] = evidence.exposure_scores[one.asked.experiment]
    return arrays


def _about(evidence: Evidence, attacker: Attacker) -> dict[str, Any]:
    """What was asked for, with which versions, and what was left out."""
    return {
        "versions": {
            "project": VERSION,
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
        "options": {**dataclasses.asdict(attacker.options), **_as_given(attacker)},
        "machine": describe_machine(pick_device(attacker.device)),
        "signals": {one.asked.experiment: one.asked.cell.origin(0) for one in evidence.scored if _foreign(one)},
        **own_parts(),
        "problems": evidence.problems,
        "left_out": evidence.notes,
        "unavailable": {one.asked.experiment: one.unavailable for one in evidence.scored if one.unavailable},
        "notes": {one.asked.experiment: one.notes for one in evidence.scored if one.notes},
    }


def _foreign(one: CellScores) -> bool:
    return not one.asked.cell.trained_here


def _as_given(attacker: Attacker) -> dict[str, Any]:
    """Options in the words of the command line."""
    options = attacker.options
    wanted = {None: f"all, {MOST_TARGETS} at most; attacks that train networks: 1", ALL_TARGETS: "all"}
    return {
        "attacks": list(attacker.names),
        "num_targets": wanted.get(options.num_targets, options.num_targets),
        "shadows_from": list(options.shadows_from or ("all",)),
    }

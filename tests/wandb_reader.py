"""What Weights & Biases wrote offline, read from its files: LevelDB's log format around protocol buffers."""

from __future__ import annotations

import importlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEADER, BLOCK = struct.Struct("<4sHB"), 32768
RECORD = struct.Struct("<IHB")  # checksum, length, kind
FULL, FIRST, LAST = 1, 2, 4


@dataclass
class Logged:
    """One offline folder. history: {step: row}; summary: the last value of each name."""

    identity: str = ""
    group: str = ""
    kind: str = ""
    name: str = ""
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, list[str]] = field(default_factory=dict)
    exit_code: int | None = None
    files: Path = Path()

    def table(self, name: str) -> list[dict[str, Any]]:
        """The rows of a logged table."""
        place = next(row[f"{name}/path"] for row in self.history.values() if f"{name}/path" in row)
        table = json.loads((self.files / place).read_text(encoding="utf-8"))
        return [dict(zip(table["columns"], values, strict=True)) for values in table["data"]]


def read_all(folder: Path) -> list[Logged]:
    """Every offline folder below `folder`, in the order in which they were begun."""
    return [_read(path) for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]


def _read(path: Path) -> Logged:
    messages = importlib.import_module("wandb.proto.wandb_internal_pb2")
    found = Logged(files=path.parent / "files")
    for content in _records(path.read_bytes()):
        record = messages.Record()
        record.ParseFromString(content)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found.identity, found.name, found.tags = run.run_id, run.display_name, tuple(run.tags)
            found.group, found.kind, found.config = run.run_group, run.job_type, _values(run.config.update)
        elif kind == "history":
            row = _values(record.history.item)
            found.history.setdefault(int(row["_step"]), {}).update(row)
        elif kind == "summary":
            found.summary |= _values(record.summary.update)
        elif kind == "artifact":
            names = [entry.path for entry in record.artifact.manifest.contents]
            found.artifacts[record.artifact.name] = names
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
    return found


def _values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(raw: bytes) -> Iterator[bytes]:
    ident, magic, _ = HEADER.unpack_from(raw)
    assert (ident, magic) == (b":W&B", 0xBEE1)
    at, parts = HEADER.size, b""
    while at + RECORD.size <= len(raw):
        if BLOCK - at % BLOCK < RECORD.size:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = RECORD.unpack_from(raw, at)
        at += RECORD.size
        parts = (b"" if kind in (FULL, FIRST) else parts) + raw[at : at + length]
        at += length
        if kind in (FULL, LAST):
            yield parts

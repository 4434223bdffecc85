"""Code of the user's own: an object in a Python file that the command line names, found by path, known by its sha256.

A file that only a configuration or a runs folder names is not executed unless the command trusts it (`trust`).
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
import types
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import UsageError

FORM = re.compile(r"(?P<path>.+\.py):(?P<name>[A-Za-z_][A-Za-z0-9_]*)")
STEM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,59}")
HASH = re.compile(r"[0-9a-f]{64}")
LARGEST = 1_000_000  # bytes of a file
LISTED = 8  # names that a line offers in place of one that is not there


@dataclass(frozen=True)
class OwnCode:
    """path: as it was given. sha256: of the file. name: `<file's stem>.<object's name>`, in folders and tables. line:
    where the object begins. found: the object itself."""

    path: str
    sha256: str
    name: str
    line: int
    found: Any

    @property
    def file(self) -> str:
        """The file's name, for messages."""
        return Path(self.path).name

    @property
    def place(self) -> str:
        """`prune.py, line 12`, to begin a message with."""
        return f"{self.file}, line {self.line}"


class _State:
    """Of this process: objects by name and sha256, those that the command names, and whom else it trusts."""

    loaded: dict[tuple[str, str], OwnCode] = {}  # noqa: RUF012 (it is one state, not one per instance)
    modules: dict[str, types.ModuleType] = {}  # noqa: RUF012 (the same; by sha256)
    named: dict[str, OwnCode] = {}  # noqa: RUF012 (the same; by name)
    trusted: tuple[str, ...] | None = None


def forget() -> None:
    """As if no command had named, trusted or executed anything yet."""
    for known in (_State.named, _State.loaded, _State.modules):
        known.clear()
    _State.trusted = None


def trust(files: Iterable[str]) -> None:
    """From now on code that configurations name is executed; files: where else it may lie, than where they say."""
    _State.trusted = tuple(files)


def trusts() -> bool:
    """Whether code is executed that only configurations name."""
    return _State.trusted is not None


def named(name: str) -> OwnCode | None:
    """The object of this name that the command named, if it did."""
    return _State.named.get(name)


def as_given(name: str) -> str:
    """`prune.py:Random` for `prune.Random` where the command named it, and every other name as it is."""
    code = _State.named.get(name)
    return name if code is None else f"{code.path}:{name.rpartition('.')[2]}"


def name_of(given: str) -> str:
    """`prune.Random` for `prune.py:Random`, and everything else as it is."""
    match = FORM.fullmatch(given)
    return given if match is None else f"{Path(match['path']).stem}.{match['name']}"


def form_of(path: str, name: str) -> str:
    """What the command line would have been given for a stored path and name."""
    return f"{path}:{name.rpartition('.')[2]}"


def load(given: str, flag: str, taken: Iterable[str]) -> OwnCode:
    """Execute the file of `FILE.py:name`, once, and take the object. taken: names that are the project's own.

    UsageError, one line with file and line number, where that cannot be done.
    """
    match = FORM.fullmatch(given)
    assert match is not None, given
    path, name = match["path"], _name(match["path"], match["name"], flag)
    source, sha256 = _read(path, flag)
    earlier = _State.named.get(name)
    if name in taken or (earlier is not None and earlier.sha256 != sha256):
        other = "a name of this project's own" if earlier is None else f"{earlier.path}'s name as well"
        raise UsageError(f"argument {flag}: {path} would be {name} in tables, which is {other}; rename the file")
    code = _State.loaded.get((name, sha256)) or _object(path, name, source, sha256, flag)
    _State.named[name] = code
    return code


def trusted(name: str, path: str, sha256: str) -> OwnCode:
    """The object that a configuration names, by its hash: at hand already, or in a file that the command trusts.

    UsageError, one line, where it is neither.
    """
    code = _State.loaded.get((name, sha256))
    if code is not None:
        return code
    if _State.trusted is None:
        raise UsageError(
            f"{name} is code in {path}, which only a configuration names: it is not executed without --trust-code"
        )
    problem = f"{path} is not there"
    for place in (path, *_State.trusted):
        if not Path(place).is_file():
            continue
        source, found = _read(place, "--trust-code")
        if found == sha256:
            return _object(place, name, source, sha256, "--trust-code")
        if place == path:
            problem = f"{Path(path).name} has changed"
    raise UsageError(
        f"{problem}: {name} is the code whose sha256 is {sha256[:12]}...; --trust-code FILE says where that lies now"
    )


def place_of(error: BaseException) -> str | None:
    """`prune.py, line 12` where an error passed through such a file, the innermost of its lines; else None."""
    files = {module.__file__: module for module in _State.modules.values()}
    found, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in files:
            found = f"{Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return found


def in_words(error: BaseException) -> str:
    """`ValueError: what it says`, in one line."""
    said = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _name(path: str, name: str, flag: str) -> str:
    stem = Path(path).stem
    if not STEM.fullmatch(stem) or len(name) > 60:
        raise UsageError(
            f"argument {flag}: {path}: its name becomes that of folders and rows; use letters, digits, '.', '_' and "
            "'-', at most 60"
        )
    return f"{stem}.{name}"


def _read(path: str, flag: str) -> tuple[bytes, str]:
    """The file's bytes and their sha256: what is executed is what was hashed."""
    try:
        with Path(path).open("rb") as stream:
            source = stream.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(f"argument {flag}: {path} cannot be read ({error.strerror})") from None
    if len(source) > LARGEST:
        raise UsageError(f"argument {flag}: {path} is larger than {LARGEST:,} bytes")
    return source, hashlib.sha256(source).hexdigest()


def _object(path: str, name: str, source: bytes, sha256: str, flag: str) -> OwnCode:
    module = _State.modules.get(sha256) or _executed(path, source, sha256, flag)
    wanted = name.rpartition(".")[2]
    if not hasattr(module, wanted):
        there = [one for one in _defined(source) if not one.startswith("_")]
        offered = f"; it defines {', '.join(there[:LISTED])}" if there else ""
        raise UsageError(f"argument {flag}: {Path(path).name} has no {wanted}{offered}")
    code = OwnCode(path, sha256, name, _defined(source).get(wanted, 1), getattr(module, wanted))
    _State.loaded[name, sha256] = code
    return code


def _executed(path: str, source: bytes, sha256: str, flag: str) -> types.ModuleType:
    # under a name of its own: dataclasses look their module up, and no other module is replaced
    module = types.ModuleType(f"own_code_{sha256[:16]}")
    module.__file__ = str(Path(path).absolute())
    file = Path(path).name
    try:
        compiled = compile(source, module.__file__, "exec")
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise UsageError(f"argument {flag}: {file}, line {line}: {getattr(error, 'msg', error)}") from None
    sys.modules[module.__name__] = module
    _State.modules[sha256] = module
    try:
        exec(compiled, module.__dict__)
    except (Exception, SystemExit) as error:
        place = place_of(error) or file
        del sys.modules[module.__name__], _State.modules[sha256]
        raise UsageError(f"argument {flag}: {place}: {in_words(error)}") from None
    return module


def _defined(source: bytes) -> dict[str, int]:
    """Line by name of what the file itself defines."""
    kinds = (ast.ClassDef, ast.FunctionDef)
    return {node.name: node.lineno for node in ast.parse(source).body if isinstance(node, kinds)}

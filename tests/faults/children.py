"""Commands as children of a fork server, and as ordinary processes; both are waited for and killed alike."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PATIENCE = 300.0  # seconds after which a command counts as hanging
Hook = tuple[str, tuple[Any, ...]]


class Hanging(AssertionError):
    """A command did not end."""


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, or None and the signal that killed it; wall and CPU seconds; what it said.

    memory: most bytes resident at once.
    """

    code: int | None
    signal: int | None
    seconds: float
    cpu: float
    out: str
    err: str
    memory: int = 0


class Child:
    """A command forked from a server."""

    def __init__(self, server: Server, pid: int, out: Path, err: Path) -> None:
        self.server, self.pid, self.out, self.err = server, pid, out, err
        self.end: Ended | None = None

    def signal(self, number: int) -> bool:
        """Send a signal; False when the command had ended already."""
        return self.end is None and self.server.signal(self.pid, number)

    def ended(self, seconds: float) -> bool:
        """Wait at most this long; whether it has ended."""
        if self.end is None:
            message = self.server.message("ended", self.pid, seconds)
            if message is not None:
                status = message["status"]
                killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
                code = None if killed else os.WEXITSTATUS(status)
                said = [path.read_text(encoding="utf-8", errors="replace") for path in (self.out, self.err)]
                self.end = Ended(code, killed, message["seconds"], message["cpu"], said[0], said[1], message["memory"])
        return self.end is not None

    def wait(self, seconds: float = PATIENCE) -> Ended:
        """Wait for the end; a command that does not come to one is killed, and Hanging raised."""
        if not self.ended(seconds):
            self.signal(signal.SIGKILL)
            self.ended(PATIENCE)
            raise Hanging(f"no end within {seconds:g} s; it said: {self.err.read_text(errors='replace')[-800:]}")
        assert self.end is not None
        return self.end


class Server:
    """A fork server of its own process. Not to be shared between threads."""

    def __init__(self, logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self.logs, self.numbers = logs, itertools.count()
        with (logs / "server.err").open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("fork_server.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                start_new_session=True,
            )
        self.buffered, self.messages = b"", list[dict[str, Any]]()
        if self.message("ready", None, PATIENCE) is None:
            self.close()
            raise RuntimeError(f"the fork server does not start: {(logs / 'server.err').read_text()[-2000:]}")

    def close(self) -> None:
        """End the server and whatever it still runs."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def start(
        self,
        script: str,
        argv: Sequence[object],
        cwd: Path,
        env: Mapping[str, str] | None = None,
        hooks: Sequence[Hook] = (),
    ) -> Child:
        """Start `script.main(argv)` in `cwd`; `hooks` are of `tests.faults.hooks`, called in the child before."""
        number = next(self.numbers)
        out, err = self.logs / f"{number}.out", self.logs / f"{number}.err"
        words = [str(word) for word in argv]
        request = {"script": script, "argv": words, "cwd": str(cwd), "out": str(out), "err": str(err)}
        self._send({**request, "env": dict(env or {}), "hooks": list(hooks)})
        message = self.message("pid", None, PATIENCE)
        if message is None:
            raise RuntimeError("the fork server is gone")
        return Child(self, message["pid"], out, err)

    def run(self, script: str, argv: Sequence[object], cwd: Path, **more: Any) -> Ended:
        """Start and wait."""
        child = self.start(script, argv, cwd, **more)
        end = child.wait()
        child.out.unlink()
        child.err.unlink()
        return end

    def signal(self, pid: int, number: int) -> bool:
        """Send a signal to a child; False when it has ended."""
        self._send({"signal": number, "pid": pid})
        message = self.message("signalled", pid, PATIENCE)
        return message is not None and bool(message["alive"])

    def _send(self, request: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write((json.dumps(request) + "\n").encode())
        self.process.stdin.flush()

    def message(self, kind: str, pid: int | None, seconds: float) -> dict[str, Any] | None:
        """The next message of this kind (about this child); None when none comes in time."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + seconds
        while True:
            for message in self.messages:
                if kind in message and pid in (None, message[kind]):
                    self.messages.remove(message)
                    return message
            left = deadline - time.monotonic()
            if not select.select([self.process.stdout], [], [], max(0.0, left))[0]:
                return None
            block = os.read(self.process.stdout.fileno(), 1 << 16)
            if not block:
                return None
            *lines, self.buffered = (self.buffered + block).split(b"\n")
            self.messages += [json.loads(line) for line in lines]


class Process:
    """A command as users start it: an interpreter of its own, in a session of its own."""

    def __init__(self, script: str, argv: Sequence[object], cwd: Path, logs: Path, env: Mapping[str, str]) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self.out, self.err = logs / "process.out", logs / "process.err"
        self.started = time.perf_counter()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100", **env}
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, str(REPOSITORY / (script.replace(".", "/") + ".py")), *(str(word) for word in argv)],
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def signal(self, number: int) -> bool:
        """Send a signal; False when the command had ended already."""
        if self.process.poll() is not None:
            return False
        self.process.send_signal(number)
        return True

    def ended(self, seconds: float) -> bool:
        """Wait at most this long; whether it has ended."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait(self, seconds: float = PATIENCE) -> Ended:
        """As `Child.wait`; CPU seconds are not known here."""
        if not self.ended(seconds):
            self.process.kill()
            self.process.wait()
            raise Hanging(f"no end within {seconds:g} s; it said: {self.err.read_text(errors='replace')[-800:]}")
        status = self.process.returncode
        said = [path.read_text(encoding="utf-8", errors="replace") for path in (self.out, self.err)]
        code, killed = (None, -status) if status < 0 else (status, None)
        return Ended(code, killed, time.perf_counter() - self.started, float("nan"), said[0], said[1])


def descendants(pid: int) -> list[int]:
    """Pids of a process's children, their children and so on (Linux)."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            mine = [int(word) for word in task.read_text().split()]
        except OSError:  # it ended meanwhile
            continue
        for one in mine:
            found += [one, *descendants(one)]
    return found


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

"""A process that has imported everything once and forks itself for each command: a command starts in milliseconds.

Reads a JSON request a line on standard input, answers in JSON lines on standard output. No tensor operation runs here
before a fork, so that every child starts its own threads. Run by `tests.faults.children.Server`.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "COLUMNS": "100"}
# What commands import only when they come to it, and what takes long.
WARM = (
    *("torch._dynamo", "fontTools.subset", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf"),
    *(
        "cli.evaluation",
        "cli.training",
        "evaluation.gather",
        "training.run",
        "sweep.worker",
        "mia.report",
        "reporting.page",
    ),
    *(
        "attacks.lira",
        "attacks.thresholds",
        "attacks.rmia",
        "train",
        "run_experiment",
        "test_mia",
        "mia.unified_mia_evaluation",
    ),
    *("mia.mia_advanced", "mia.mia_wemem", "mia.run_mia_evaluation", "mia.report", "tests.faults.hooks"),
)


def say(message: dict[str, Any]) -> None:
    """One line of JSON."""
    os.write(1, (json.dumps(message) + "\n").encode())


def child(request: dict[str, Any]) -> None:
    """Become the command; never returns."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number, name in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
        opened = os.open(name, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    code = 1
    try:
        for name, arguments in request["hooks"]:
            getattr(importlib.import_module("tests.faults.hooks"), name)(*arguments)
        module = importlib.import_module(request["script"])
        sys.argv = [module.__file__ or request["script"], *request["argv"]]
        code = module.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def warm_up() -> None:
    """Import everything, once."""
    sys.path[0:1] = [str(REPOSITORY)]
    os.environ.update(ENVIRONMENT)
    for name in WARM:
        importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)


def main() -> None:
    """Serve until standard input ends; children that are left then are killed."""
    warm_up()
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    alive: dict[int, float] = {}
    buffered = b""
    say({"ready": os.getpid()})
    while True:
        ready = select.select([0, reading], [], [])[0]
        if reading in ready:
            os.read(reading, 4096)
        while alive:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                break
            seconds = time.perf_counter() - alive.pop(pid)
            used = {"cpu": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss * 1024}
            say({"ended": pid, "status": status, "seconds": seconds, **used})
        if 0 not in ready:
            continue
        block = os.read(0, 1 << 16)
        if not block:
            break
        *lines, buffered = (buffered + block).split(b"\n")
        for line in lines:
            request = json.loads(line)
            if "signal" in request:
                # only here is it certain that the number still belongs to the child
                if request["pid"] in alive:
                    os.kill(request["pid"], request["signal"])
                say({"signalled": request["pid"], "alive": request["pid"] in alive})
                continue
            pid = os.fork()
            if pid == 0:
                child(request)
            alive[pid] = time.perf_counter()
            say({"pid": pid})
    for pid in alive:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()

"""Two processes that want one run folder."""

from __future__ import annotations

import socket

from tests.faults.sweeps import model_argv, undisturbed_model, verdict
from tests.faults.trials import Tally, Trial

EPOCHS = ("--epochs", "3")
LOCKED = 4
ATTEMPTS = 20


def race(trial: Trial) -> Tally:
    """The same command twice at the same moment: one trains, the other exits 4 and says who holds the folder."""
    expected, _ = undisturbed_model(trial, *EPOCHS)
    for attempt in range(ATTEMPTS):
        folder = trial.folder / f"{attempt}"
        folder.mkdir()
        both = [trial.server.start("run_experiment", model_argv(*EPOCHS), folder) for _ in range(2)]
        ends = [child.wait() for child in both]
        codes = [end.code for end in ends]
        if sorted(codes, key=str) == [0, 2] and "finished already" in ends[codes.index(2)].err:
            continue  # the first had ended when the second looked
        if sorted(codes, key=str) != [0, LOCKED]:
            return Tally(True, False, f"exit codes {codes}: {ends[0].err[-200:]} | {ends[1].err[-200:]}")
        winner, loser = both[codes.index(0)], ends[codes.index(LOCKED)]
        line = loser.err.strip().splitlines()[-1]
        named = f"{winner.pid}" in line and socket.gethostname() in line
        wrong = "" if named else f"pid {winner.pid} or host is missing: {loser.err[-300:]}"
        wrong = wrong or ("a traceback" if "Traceback" in loser.err else "") or verdict(folder, expected)
        return Tally(True, not wrong, wrong or line)
    return Tally(False, False, "the two never met")

"""Every fault, with the number of its tries."""

from __future__ import annotations

from faults import kills
from faults.trials import Fault

FAULTS = (
    Fault("kill -9 at a random moment", kills.random_kill, 200, share=3),
    Fault("kill -9 at every write step", kills.kill_at_write_step, kills.write_steps, share=3),
    Fault("SIGTERM or SIGINT", kills.stopped, 20, share=3),
)

"""Every fault, with the number of its tries."""

from __future__ import annotations

from tests.faults import commands, damage, disks, kills, numbers, races, stopped_workers, strangers, tracking
from tests.faults.trials import Fault

FAULTS = (
    Fault("kill -9 at a random moment", kills.random_kill, 200, share=2),
    Fault("kill -9 at every write step", kills.kill_at_write_step, kills.write_steps, share=3),
    Fault("SIGTERM or SIGINT", kills.stopped, 20, share=2),
    Fault("checkpoint truncated", damage.damaged_checkpoint(damage.truncate), 60, share=3),
    Fault("checkpoint with one bit flipped", damage.damaged_checkpoint(damage.flip_bit), 60, share=1),
    Fault("checkpoint with a block zeroed", damage.damaged_checkpoint(damage.zero_block), 20, share=2),
    Fault("checkpoint empty", damage.damaged_checkpoint(damage.empty), 5, share=2),
    Fault("checkpoint of another experiment", damage.foreign_checkpoint, 10, share=2),
    Fault("checkpoint with a key missing", damage.checkpoint_without_a_key, 10, share=2),
    Fault("signals, CSV or summary damaged", damage.damaged_results, 60, share=2),
    Fault("disk full (a small tmpfs)", disks.full_disk, disks.TRIES, share=1, needs=disks.no_mount),
    Fault("disk full (writes that fail)", disks.failing_writes, disks.TRIES, share=1),
    Fault("bad command line", commands.bad_command_line, commands.count, share=16),
    Fault("file of a stranger", strangers.stranger, strangers.TRIES, share=6),
    Fault("two processes, one run folder", races.race, 50, share=3),
    Fault("NaN or infinity at a step", numbers.bad_number, 20, share=2),
    Fault("wandb missing, silent, killed or full", tracking.broken_tracking, 6, share=1, needs=tracking.no_wandb),
    Fault("worker stopped (SIGSTOP)", stopped_workers.stopped_worker, 5, share=1),
)

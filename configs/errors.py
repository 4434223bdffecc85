"""The errors that end a command in one line. The entry layer turns them into exit codes; nothing below it exits."""


class UsageError(ValueError):
    """The command line, a configuration file or the data it names cannot be used as given (exit code 2).

    The message is one line: what is wrong, which flag, what is allowed.
    """


class RunError(RuntimeError):
    """One run or cell cannot be finished or trusted (its command goes on with the others and ends with exit code 3)."""


class RunLocked(RunError):
    """Another process holds the run folder; the message names its pid and host (exit code 4)."""


class DiskFull(RunError):
    """There was no room for a file; what was there before is whole, and the run goes on once there is room."""


class BadNumbers(RunError):
    """A run's numbers stopped being finite; the message names the step. The same configuration would do so again."""


class StopRequested(KeyboardInterrupt):
    """SIGINT or SIGTERM asked for an orderly stop, and what was to be saved is saved (exit code 128 + signum)."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by signal {signum}")
        self.signum = signum

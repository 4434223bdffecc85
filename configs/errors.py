"""The errors that end a command in one line. The entry layer turns them into exit codes; nothing below it exits."""


class UsageError(ValueError):
    """The command line, a configuration file or the data it names cannot be used as given (exit code 2).

    The message is one line: what is wrong, which flag, what is allowed.
    """


class RunError(RuntimeError):
    """One run or cell cannot be finished or trusted (its command goes on with the others and ends with exit code 3)."""

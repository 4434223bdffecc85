"""Exit codes and messages, the same for every script: 0 done, 1 failed, 2 usage, 3 some runs failed, 4 run held,
5 and 6 leakage above a limit, or not known to be below."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from artifacts import stopping
from artifacts.logs import set_up_console
from cli import own_parts
from cli.parser import parse
from configs.errors import RunError, RunLocked, StopRequested, UsageError

DONE, FAILED, USAGE, SOME_FAILED, LOCKED, INTERRUPTED = 0, 1, 2, 3, 4, 130
ABOVE_LIMIT, UNDECIDED = 5, 6  # of --fail-above
GOES_ON = "the same command with --skip-existing goes on"


def run_main(
    build: Callable[[], argparse.ArgumentParser],
    body: Callable[[argparse.Namespace], int],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse, run, and turn every expected failure into one line on standard error and an exit code."""
    parser, words = build(), own_parts.words_of(argv)
    if "_ARGCOMPLETE" in os.environ:  # a shell asks for completions
        with contextlib.suppress(ImportError):
            import argcomplete

            with contextlib.suppress(UsageError):
                parser = build() if own_parts.load_methods(parser, words) else parser
            argcomplete.autocomplete(parser)
    try:
        with stopping.installed(for_good=argv is None), own_parts.for_one_command():
            if own_parts.load_methods(parser, words):
                parser = build()
            args = parse(parser, argv)
            own_parts.load_others(args, words)
            set_up_console(logging.DEBUG if args.verbose else logging.WARNING if args.quiet else logging.INFO)
            return body(args)
    except UsageError as error:
        return _fail(parser.prog, str(error), USAGE)
    except RunLocked as error:
        return _fail(parser.prog, str(error), LOCKED)
    except RunError as error:
        return _fail(parser.prog, str(error), FAILED)
    except (OSError, MemoryError) as error:
        # a folder that may not be written, say: the message already says which file
        return _fail(parser.prog, str(error) or "out of memory", FAILED)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported for it
            raise
        return _fail(parser.prog, "out of GPU memory; lower --batch-size or give --device cpu", FAILED)
    except StopRequested as error:
        name = signal.Signals(error.signum).name
        return _fail(parser.prog, f"stopped by {name}; {GOES_ON}", 128 + error.signum)
    except KeyboardInterrupt:
        return _fail(parser.prog, f"interrupted; {GOES_ON}", INTERRUPTED)


def _fail(prog: str, message: str, code: int) -> int:
    print(f"{Path(prog).name}: error: {message}", file=sys.stderr)
    return code

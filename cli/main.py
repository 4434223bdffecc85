"""Exit codes and messages, the same for every script: 0 done, 1 failed, 2 usage, 3 some runs failed, 4 run held."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from artifacts.logs import set_up_console
from cli.parser import parse
from configs.errors import RunError, UsageError

DONE, FAILED, USAGE, SOME_FAILED, LOCKED, INTERRUPTED = 0, 1, 2, 3, 4, 130


def run_main(
    build: Callable[[], argparse.ArgumentParser],
    body: Callable[[argparse.Namespace], int],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse, run, and turn every expected failure into one line on standard error and an exit code."""
    parser = build()
    try:
        args = parse(parser, argv)
        set_up_console(logging.DEBUG if args.verbose else logging.WARNING if args.quiet else logging.INFO)
        return body(args)
    except UsageError as error:
        return _fail(parser.prog, str(error), USAGE)
    except RunError as error:
        return _fail(parser.prog, str(error), FAILED)
    except OSError as error:
        # a full disk or a folder that may not be written: the message already says which file
        return _fail(parser.prog, str(error), FAILED)
    except KeyboardInterrupt:
        return _fail(parser.prog, "interrupted; the same command with --skip-existing goes on", INTERRUPTED)


def _fail(prog: str, message: str, code: int) -> int:
    print(f"{Path(prog).name}: error: {message}", file=sys.stderr)
    return code

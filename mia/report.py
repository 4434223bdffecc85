# PYTHON_ARGCOMPLETE_OK
"""One self-contained page from a results folder."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    # Run as a file: the repository root replaces this folder, so that no module is found under two names.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
from collections.abc import Sequence


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    from cli.parser import add_places, new_parser

    parser = new_parser(__doc__ or "", "python mia/report.py --results-dir results/mia")
    add_places(parser, "results_dir")
    return parser


def body(args: argparse.Namespace) -> int:
    """Draw the page; the figures' libraries are loaded once the flags are known to be good."""
    from artifacts.locks import locked
    from artifacts.missing import check_results

    check_results(Path(args.results_dir))
    from cli.main import DONE
    from reporting.inputs import read_inputs
    from reporting.page import clear_folders, write_report

    folder = Path(args.results_dir)
    read_inputs(folder)  # a folder without an evaluation is refused before anything is written to it
    with locked(folder):
        clear_folders(folder)
        page, *figures = write_report(folder)
    print(f"report   {page}\nfigures  {len(figures)}")
    return DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    from cli.main import run_main

    return run_main(build_parser, body, argv)


if __name__ == "__main__":
    sys.exit(main())

# PYTHON_ARGCOMPLETE_OK
"""Run the WeMeM suite on every cell of a runs directory: mia/mia_wemem.py by its older name."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    # Run as a file: the repository root replaces this folder, so that no module is found under two names.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from mia.mia_wemem import build_parser, main

__all__ = ["build_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())

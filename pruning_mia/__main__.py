# PYTHON_ARGCOMPLETE_OK
"""Train dense and pruned networks, attack them with membership inference, and report what was found."""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# What holds the scripts and the packages that they import: this folder in an install, the one above in the repository.
ROOT = HERE if (HERE / "cli").is_dir() else HERE.parent
# Subcommand: the script that it is. Each has its own flags, and takes them as the script does.
COMMANDS = {
    "train": "train",
    "run": "run_experiment",
    "check": "test_mia",
    "attack": "mia.unified_mia_evaluation",
    "attack-cell": "mia.run_mia_evaluation",
    "advanced": "mia.mia_advanced",
    "wemem": "mia.mia_wemem",
    "report": "mia.report",
}


def build_parser() -> argparse.ArgumentParser:
    """The subcommands, each with the first line of its script; no script is imported for it."""
    from cli.help_layout import HelpText
    from cli.parser import COMMAND, OneLineParser
    from configs.version import VERSION

    parser = OneLineParser(
        prog=COMMAND,
        usage="%(prog)s COMMAND [flags]",
        description=__doc__,
        epilog=f"{COMMAND} COMMAND --help shows the flags of a command.",
        formatter_class=HelpText,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=VERSION, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, script in COMMANDS.items():
        source = (ROOT / f"{script.replace('.', '/')}.py").read_text(encoding="utf-8")
        commands.add_parser(name, help=ast.get_docstring(ast.parse(source)))
    return parser


def main() -> int:
    """Entry point; returns the exit code."""
    sys.path.insert(0, str(ROOT))  # as `python train.py` does
    from cli.main import USAGE
    from cli.parser import COMMAND
    from configs.errors import UsageError

    completing = "_ARGCOMPLETE" in os.environ  # a shell asks for completions, of the words that are typed so far
    words = os.environ.get("COMP_LINE", "").split()[1:] if completing else sys.argv[1:]
    # a word that ends the line is still being typed
    if not words or words[0] not in COMMANDS or (completing and len(words) == 1 and not _ends_in_space()):
        parser = build_parser()
        if completing:
            with contextlib.suppress(ImportError):
                import argcomplete

                argcomplete.autocomplete(parser)
        try:
            parser.parse_args(words)
        except UsageError as error:
            print(f"{COMMAND}: error: {error}", file=sys.stderr)
        return USAGE
    if completing:
        os.environ["_ARGCOMPLETE"] = str(int(os.environ["_ARGCOMPLETE"]) + 1)  # the subcommand is part of the name
    sys.argv = [f"{COMMAND} {words[0]}", *words[1:]]
    code: int = importlib.import_module(COMMANDS[words[0]]).main()
    return code


def _ends_in_space() -> bool:
    return os.environ.get("COMP_LINE", "")[-1:].isspace()


if __name__ == "__main__":
    sys.exit(main())

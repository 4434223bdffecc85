"""The project's version, printed by every script's `--version`."""

VERSION = "0.1.0"

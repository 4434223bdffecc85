"""Methods, networks and attacks in files of the user's own: taken up where a command names them, for its length."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attacks.registry
import pruning.registry
from attacks.own import own_attack, try_out
from cli.config_file import named_methods
from configs import own_code
from configs.errors import UsageError
from pruning.registry import BUILT_IN_KNOBS

log = logging.getLogger(__name__)
METHOD_FLAGS = {"methods": "--methods", "prune_method": "--prune-method"}
failures: list[str] = []  # of own attacks, since the command began


def add_trust_flag(parser: argparse.ArgumentParser) -> None:
    """`--trust-code`."""
    parser.add_argument_group("code of your own").add_argument(
        "--trust-code",
        nargs="*",
        metavar="FILE.py",
        help="execute code that only a configuration or a runs folder names, if its sha256 is the one named there; "
        "FILE.py: where it lies now. Without it only files that this command names are executed",
    )


@contextlib.contextmanager
def for_one_command() -> Iterator[None]:
    """What a command takes up is forgotten when it ends."""
    try:
        yield
    finally:
        forget()


def forget() -> None:
    """Only the project's own parts are known from now on."""
    own_code.forget()
    pruning.registry.forget_own()
    attacks.registry.forget_own()
    failures.clear()


def words_of(argv: Sequence[str] | None) -> list[str]:
    """The command line; that under way where a shell asks for completions."""
    if "_ARGCOMPLETE" not in os.environ:
        return list(sys.argv[1:] if argv is None else argv)
    with contextlib.suppress(ValueError):
        return shlex.split(os.environ.get("COMP_LINE", ""))[1:]
    return []


def load_methods(parser: argparse.ArgumentParser, words: Sequence[str]) -> bool:
    """Take up the methods that a command line names, whose knobs are flags; whether there was one.

    parser: of the project's own flags. UsageError, one line, as `pruning.registry.add_own`.
    """
    actions = {action.dest: action for action in parser._actions}
    scout = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    scout.add_argument("--config")
    scout.add_argument("--trust-code", nargs="*")
    for name in actions.keys() & METHOD_FLAGS.keys():
        scout.add_argument(METHOD_FLAGS[name], dest=name, nargs=actions[name].nargs)
    with contextlib.suppress(argparse.ArgumentError):  # which the parser itself will have words for
        found = scout.parse_known_args(list(words))[0]
        if found.trust_code is not None and "trust_code" in actions:
            own_code.trust(found.trust_code)
        named = [(flag, value) for name, flag in METHOD_FLAGS.items() for value in _values(found, name)]
        if found.config is not None and any(name in actions for name in METHOD_FLAGS):
            named += [("--config", value) for value in named_methods(Path(found.config))]
        flags = {name: object for name in actions if name not in BUILT_IN_KNOBS}
        kinds = {field.name: field.metadata["kind"] for field in _built_in_knobs()}
        for flag, given in dict.fromkeys(named):
            if own_code.FORM.fullmatch(given):
                _check_trust(given, words, flag)
                pruning.registry.add_own(given, flag, {**flags, **kinds})
        return any(own_code.FORM.fullmatch(given) for _, given in named)
    return False


def _values(found: argparse.Namespace, name: str) -> list[str]:
    value = getattr(found, name, None) or []
    return [value] if isinstance(value, str) else list(value)


def _built_in_knobs() -> Iterator[dataclasses.Field[Any]]:
    for method in pruning.registry.trainable().values():
        yield from dataclasses.fields(method.Knobs)


def _check_trust(given: str, words: Sequence[str], flag: str) -> None:
    """UsageError for a file that only a configuration names, unless the command trusts it."""
    here = any(word == given or word.endswith(f"={given}") for word in words)
    if not here and not own_code.trusts():
        raise UsageError(
            f"argument {flag}: {given} is named by the configuration file alone, so it is not executed without "
            "--trust-code"
        )


def load_others(args: argparse.Namespace, words: Sequence[str]) -> None:
    """Take up the network and the attacks that the command names; every name in `args` is one of tables from now on."""
    for name in METHOD_FLAGS:
        value = getattr(args, name, None)
        if isinstance(value, str):
            setattr(args, name, own_code.name_of(value))
        elif value is not None:
            setattr(args, name, [own_code.name_of(one) for one in value])
    if own_code.FORM.fullmatch(getattr(args, "arch", "")):
        from models.registry import add_own

        _check_trust(args.arch, words, "--arch")
        args.arch = add_own(args.arch, "--arch")
    if getattr(args, "attacks", None) is not None:
        args.attacks = [_attack(one, words) if own_code.FORM.fullmatch(one) else one for one in args.attacks]


def _attack(given: str, words: Sequence[str]) -> str:
    _check_trust(given, words, "--attacks")
    code = own_code.load(given, "--attacks", attacks.registry.ATTACKS)

    def failed(error: BaseException) -> str:
        said = f"{own_code.place_of(error) or code.place}: {own_code.in_words(error)}"
        if said not in failures:
            failures.append(said)
        return said

    source, wrong = {"file": code.path, "sha256": code.sha256}, f"argument --attacks: {code.place}: "
    try:
        attack = own_attack(code.found, code.name, source, failed, wrong)
    except ValueError as error:
        raise UsageError(str(error)) from None
    attacks.registry.add_own(attack)
    said = try_out(attack)
    if failures:
        raise UsageError(f"argument --attacks: {failures[0]}")
    if said is not None:
        log.warning("%s is not defined on a small made-up cell: %s", attack.name, said)
    return attack.name

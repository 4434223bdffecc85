"""A knob is declared once, in a dataclass field: its default, range, unit and help. Flags and checks come from it."""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from configs.errors import UsageError
from configs.own_code import FORM
from configs.suggest import did_you_mean

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from typing_extensions import Self

Options = TypeVar("Options", bound="DataclassInstance")
Choices = Mapping[str, Iterable[str]]
DERIVED: Any = dataclasses.MISSING  # the default of a method's knob that depends on other settings
NOT_LATER: Any = object()  # of a field that was there from the beginning
LONGEST = 50  # letters of choices in braces beside their flag; longer ones are listed in its help


def knob(
    default: Any,
    help: str,
    *,
    kind: type = str,
    low: float | None = None,
    high: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] | str | None = None,
    many: bool = False,
    shown: str | None = None,
    metavar: str | None = None,
    word: tuple[str, int | None] | None = None,
    absent: Any = NOT_LATER,
    share: float | None = None,
    also: tuple[str, ...] = (),
) -> Any:
    """Declare a dataclass field that is also a command-line flag.

    `low` and `high` are inclusive, `below` is exclusive. `choices` is a tuple, or the name of a registry whose names
    the entry layer supplies. `shown` words the default where None stands for something derived. `word` is a word that
    stands for a number, and the number (None: derived). `also`: forms beside a registry's names, such as
    `FILE.py:name`, which the entry layer resolves. `absent`, of a field of `ExperimentConfig` or of a method's
    knobs that was added after runs had been made: the value that all these runs had, which never changes, whatever
    becomes of the default. `share`, of a method's knob that is an epoch: what share of all epochs it is by default.
    """
    meta = {
        "help": help,
        "kind": kind,
        "low": low,
        "high": high,
        "below": below,
        "choices": choices,
        "many": many,
        "shown": shown,
        "metavar": metavar,
        "word": word,
        "absent": absent,
        "share": share,
        "also": also,
    }
    return dataclasses.field(default=default, metadata=meta)


def later_fields(cls: Any) -> dict[str, Any]:
    """By name, what its absence means, for the fields of a dataclass that were added after runs had been made."""
    found = {field.name: field.metadata.get("absent", NOT_LATER) for field in dataclasses.fields(cls)}
    return {name: value for name, value in found.items() if value is not NOT_LATER}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodKnobs:
    """What a pruning method is told beside its sparsity: a subclass declares its knobs, as fields of `knob`."""

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Of the fields."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def completed(cls, given: Mapping[str, Any], epochs: int) -> Self:
        """The knobs of a training of so many epochs; `given` may hold other methods' too.

        UsageError, naming the flag, for values that are not allowed or do not go together.
        """
        values = {}
        for field in dataclasses.fields(cls):
            share: float | None = field.metadata["share"]
            value: Any = given.get(field.name)
            if value is None:
                value = field.default if share is None else max(round(share * epochs), field.metadata["low"])
            if share is not None and value > epochs:
                flag = flag_name(field.name)
                raise UsageError(f"argument {flag}: {value} is past --epochs {epochs}; give at most {epochs}")
            values[field.name] = value
        knobs = cls(**values)
        knobs.check()
        return knobs

    def check(self) -> None:
        """Raise UsageError, naming the flag, for values that do not go together."""

    def total_epochs(self, epochs: int) -> int:
        """Passes over the members that a training makes in all, where `--epochs` are so many."""
        return epochs

    def schedule_epoch(self, epoch: int, epochs: int) -> int:
        """The epoch of the learning rate's schedule, which has `epochs`, that epoch 0, 1, ... of the training takes."""
        return epoch


def flag_name(field_name: str) -> str:
    """`pool_size` -> `--pool-size`."""
    return "--" + field_name.replace("_", "-")


def allowed_range(meta: Mapping[str, Any]) -> str:
    """The allowed values in words, for an error line."""
    numbers = _allowed_numbers(meta)
    return f"{numbers}, or {meta['word'][0]}" if meta["word"] else numbers


def _allowed_numbers(meta: Mapping[str, Any]) -> str:
    kind = "a whole number" if meta["kind"] is int else "a number"
    low, high, below = meta["low"], meta["high"], meta["below"]
    if low is not None and below is not None:
        return f"{kind} in [{low:g}, {below:g})"
    if low is not None and high is not None:
        return f"{kind} from {low:g} to {high:g}"
    if low is not None:
        return f"{kind} of at least {low:g}"
    return kind


def check_value(name: str, meta: Mapping[str, Any], value: Any) -> Any:
    """Return `value` as the knob's kind, or raise UsageError naming the flag and the allowed range."""
    kind = meta["kind"]
    refusal = UsageError(f"argument {flag_name(name)}: {value!r} is not allowed; give {allowed_range(meta)}")
    if meta["word"] and value == meta["word"][0]:
        return meta["word"][1]
    if kind in (int, float):
        try:
            number = kind(value)
        except (TypeError, ValueError, OverflowError):
            raise refusal from None
        if isinstance(value, bool) or (kind is int and isinstance(value, float) and value != number):
            raise refusal
        if not math.isfinite(number):
            raise refusal
        too_low = meta["low"] is not None and number < meta["low"]
        too_high = meta["high"] is not None and number > meta["high"]
        if too_low or too_high or (meta["below"] is not None and number >= meta["below"]):
            raise refusal
        return number
    if isinstance(meta["choices"], tuple) and value not in meta["choices"]:
        near = did_you_mean(str(value), meta["choices"])
        raise UsageError(
            f"argument {flag_name(name)}: {value!r} is unknown; choose from {', '.join(meta['choices'])}{near}"
        )
    return value


def check_fields(config: Any) -> None:
    """Check every knob of a dataclass instance; None is allowed where the default is None."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if "kind" not in field.metadata or (value is None and field.default is None):
            continue
        for item in value if field.metadata["many"] else (value,):
            check_value(field.name, field.metadata, item)


def typed(name: str, field: dataclasses.Field[Any], value: Any) -> Any:
    """A stored value of a field, if it is of the field's type; UsageError else."""
    kind = field.metadata.get("kind", int if name == "model_index" else str)
    allowed = (int, float) if kind is float else kind
    if isinstance(value, bool) or not (isinstance(value, allowed) or value is field.default is None):
        raise UsageError(f"configuration field {name!r} has the value {str(value)[:80]!r} of another type")
    return value


def add_method_flags(parser: argparse.ArgumentParser, methods: Mapping[str, type[MethodKnobs]], title: str) -> None:
    """Add one argument group with a flag for each knob of the methods; what is not given is None.

    Methods may declare a knob of one name with other words, defaults or choices: the help then says each in turn, and
    each method refuses for itself the choices that it does not have.
    """
    group = parser.add_argument_group(title)
    declared: dict[str, dict[str, dataclasses.Field[Any]]] = {}
    for method, cls in methods.items():
        for field in dataclasses.fields(cls):
            declared.setdefault(field.name, {})[method] = field
    for owners in declared.values():
        alike: dict[tuple[str, str], list[str]] = {}
        for method, field in owners.items():
            alike.setdefault(_in_words(field), []).append(method)
        *before, (last, shown) = [
            (f"{', '.join(names)}: {words}", default) for (words, default), names in alike.items()
        ]
        help = "; ".join([*(f"{words} (default: {default})" for words, default in before), last])
        first = next(iter(owners.values()))
        changes: dict[str, Any] = {"default": None, "help": help, "shown": shown}
        if first.metadata["choices"]:
            every = [choice for field in owners.values() for choice in field.metadata["choices"]]
            changes["choices"] = tuple(dict.fromkeys(every))
        _add_flag(group, first, {}, changes)


def _in_words(field: dataclasses.Field[Any]) -> tuple[str, str]:
    """What a method's knob is, with its choices, and its default."""
    meta = field.metadata
    choices = f" ({', '.join(meta['choices'])})" if meta["choices"] else ""
    return meta["help"] + choices, str(meta["shown"] or field.default)


def add_flags(
    parser: argparse.ArgumentParser,
    cls: type,
    title: str,
    choices: Choices,
    leave_out: Iterable[str] = (),
    only: Iterable[str] | None = None,
    defaults: Mapping[str, str] | None = None,
) -> argparse._ArgumentGroup:
    """Add one argument group with a flag for each knob of the dataclass `cls`; returns the group.

    defaults: by name, what None stands for in words, where the declaration cannot know it.
    """
    group = parser.add_argument_group(title)
    for field in dataclasses.fields(cls):
        if "kind" not in field.metadata or field.name in leave_out or (only is not None and field.name not in only):
            continue
        changes = {"shown": defaults[field.name]} if defaults and field.name in defaults else {}
        _add_flag(group, field, choices, changes)
    return group


class NamesAndForms(list[str]):
    """The names that a flag takes, to be offered; a value of one of its other forms is one of them as well."""

    def __init__(self, names: Iterable[str], forms: Sequence[str]) -> None:
        super().__init__(names)
        self.forms = tuple(forms)

    def __contains__(self, value: object) -> bool:
        return super().__contains__(value) or any(_has_form(str(value), form) for form in self.forms)


def _has_form(value: str, form: str) -> bool:
    """`net.py:make` has the form FILE.py:function, `my.npz` FILE.npz, `timm:vit` timm:NAME."""
    if form.startswith("FILE."):
        ending = form.removeprefix("FILE")
        if ":" not in ending:
            return value.lower().endswith(ending)
        return FORM.fullmatch(value) is not None
    return re.fullmatch(re.escape(form.partition(":")[0]) + r":[A-Za-z0-9_.]{1,60}", value) is not None


def _add_flag(group: Any, field: dataclasses.Field[Any], choices: Choices, changes: Mapping[str, Any]) -> None:
    """changes: of the field's declaration, and of its default."""
    meta, flag = {"default": field.default, **field.metadata, **changes}, flag_name(field.name)
    if meta["kind"] is bool:
        group.add_argument(flag, action="store_true", default=meta["default"], help=meta["help"])
        return
    value: Any = meta["default"]
    default = meta["shown"] or (" ".join(map(str, value)) if meta["many"] else value)
    named = meta["choices"] if isinstance(meta["choices"], tuple) else choices.get(meta["choices"] or "")
    options: dict[str, Any] = {"default": value, "help": f"{meta['help']} (default: {default})"}
    if named is not None:
        options["choices"] = NamesAndForms(named, meta["also"])
        braces = "{" + ",".join(options["choices"]) + "}"
        listed = meta["many"] or len(braces) > LONGEST or meta["also"]
        options["metavar"] = "NAME" if listed else braces
        allowed = ", ".join((*named, *meta["also"]))
        options["help"] = f"{meta['help']}: {allowed} (default: {default})" if listed else options["help"]
    else:
        options["type"] = _parser_of(field)
        options["metavar"] = meta["metavar"] or {int: "N", float: "X"}.get(meta["kind"], "NAME")
    if meta["many"]:
        options["nargs"] = "+"
    group.add_argument(flag, **options)


def _parser_of(field: dataclasses.Field[Any]) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return check_value(field.name, field.metadata, text)
        except UsageError as error:
            # argparse puts "argument --flag: " in front by itself
            raise argparse.ArgumentTypeError(str(error).split(": ", 1)[1]) from None

    return parse


def from_args(cls: type[Options], args: argparse.Namespace, **overrides: Any) -> Options:
    """Build the dataclass from parsed arguments; a list of a `many` knob becomes a tuple."""
    values = {}
    for field in dataclasses.fields(cls):
        if field.name in overrides:
            values[field.name] = overrides[field.name]
        elif hasattr(args, field.name):
            value = getattr(args, field.name)
            values[field.name] = tuple(value) if isinstance(value, list) else value
    return cls(**values)

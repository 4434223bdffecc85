"""One way to build every script's parser, and to lay preset, configuration file and flags over each other."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from artifacts.missing import check_arrays, check_file, check_pictures
from attacks.registry import ATTACKS
from cli.config_file import as_tokens, read_tokens, settings_of
from cli.help_layout import HelpText
from configs import own_code
from configs.errors import UsageError
from configs.experiment import OWN_DENSE, ExperimentConfig
from configs.knobs import add_flags, add_method_flags
from configs.limits import AUGMENTATIONS
from configs.machine import EngineOptions, Machine, Places, Talk, Tracking
from configs.presets import EVERY, PRESETS
from configs.suggest import did_you_mean
from configs.version import VERSION
from data.registry import DATASETS
from models.registry import ARCHITECTURES
from pruning.registry import BASELINE, BUILT_IN_KNOBS, METHODS, always_there, trainable

CHOICES = {
    "datasets": tuple(DATASETS),
    "architectures": tuple(ARCHITECTURES),
    "augmentations": AUGMENTATIONS,
    "methods": tuple(METHODS),
    "attacks": tuple(ATTACKS),
}
COMMAND = "pruning-mia"  # whose subcommands are the scripts, where this project is installed
DATA_KNOBS = ("dataset", "image_size", "pool_size", "train_fraction", "split", "seed", "train_seed", "num_shadows")
MODEL_KNOBS = ("arch", "layers", "width_mult", "channels", "prune_layers", "pretrained")


class OneLineParser(argparse.ArgumentParser):
    """An argparse parser whose errors are one line and exit code 2, without the usage text; near misses are named."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(" ".join(message.split()))

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings]
            first = next((word for word in unknown if word.startswith("-")), unknown[0]).split("=")[0]
            self.error(f"unrecognized arguments: {' '.join(unknown)}{did_you_mean(first, flags)}")
        return found

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            near = did_you_mean(str(value), known)
            every = [*known, *getattr(action.choices, "forms", ())]
            raise argparse.ArgumentError(action, f"{value!r} is unknown; choose from {', '.join(every)}{near}")


def new_parser(description: str, *examples: str) -> OneLineParser:
    """A parser with the flags that every script has."""
    parser = OneLineParser(
        usage="%(prog)s [flags]", description=description, formatter_class=HelpText, allow_abbrev=False, add_help=False
    )
    if parser.prog.startswith(f"{COMMAND} "):
        examples = tuple(re.sub(r"^python \S+", parser.prog, example) for example in examples)
    parser.epilog = "\n  ".join([f"example{'s' * (len(examples) > 1)}:", *examples])
    general = parser.add_argument_group("general")
    general.add_argument("-h", "--help", action="help", help="show this help and exit")
    general.add_argument("--version", action="version", version=VERSION, help="show the version and exit")
    general.add_argument("--config", metavar="FILE", help="flags from a JSON or YAML file; explicit flags override it")
    add_flags(parser, Talk, "messages", CHOICES)
    return parser


def add_training_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that describe a model and how it is trained."""
    parser.add_argument_group("presets").add_argument(
        "--preset", choices=list(PRESETS), help="a named set of flags; --config and explicit flags override it"
    )
    add_flags(parser, ExperimentConfig, "data and membership", CHOICES, only=DATA_KNOBS)
    defaults = {name: _defaults(name) for name in ("layers", "width_mult", "channels")}
    add_flags(parser, ExperimentConfig, "model", CHOICES, only=MODEL_KNOBS, defaults=defaults)
    add_method_flags(parser, {name: method.Knobs for name, method in trainable().items()}, "pruning")
    taken = (*DATA_KNOBS, *MODEL_KNOBS, "sparsity")
    add_flags(parser, ExperimentConfig, "training", CHOICES, leave_out=taken)
    add_flags(parser, Machine, "machine", CHOICES)
    add_flags(parser, EngineOptions, "engine", CHOICES)
    add_flags(parser, Tracking, "tracking", CHOICES)
    existing = parser.add_argument_group("runs that exist already")
    existing.add_argument("--skip-existing", action="store_true", help="keep finished runs whose files verify")
    existing.add_argument("--overwrite", action="store_true", help="delete them and train again")
    existing.add_argument("--dry-run", action="store_true", help="print every run and its state; write nothing")
    existing.add_argument(
        "--print-config",
        nargs="?",
        const="yaml",
        choices=("yaml", "json"),
        help="print all settings, completed, in a form that --config takes (yaml unless json is asked for)",
    )


def _defaults(name: str) -> str:
    """`20 for resnet, 28 for wideresnet`: what every architecture declares."""
    declared = {arch: getattr(entry, name) for arch, entry in ARCHITECTURES.items()}
    return ", ".join(f"{value} for {arch}" for arch, value in declared.items() if value is not None)


def method_examples() -> Iterator[str]:
    """A command for every pruning method, with the flags of the example that it declares."""
    for name, method in METHODS.items():
        if name != BASELINE:
            yield f"python train.py --preset quick --methods dense {name} {method.example}".rstrip()


def add_places(parser: argparse.ArgumentParser, *names: str, results_dir: str | None = None) -> None:
    """Folder flags; `results_dir` is the script's own default."""
    add_flags(parser, Places, "folders", CHOICES, only=names)
    if results_dir is not None:
        parser.set_defaults(results_dir=results_dir)
        action = next(action for action in parser._actions if action.dest == "results_dir")
        action.help = f"folder of tables and figures (default: {results_dir})"


def check_training_inputs(args: argparse.Namespace) -> None:
    """UsageError where a file or folder that training would read is not there: before anything slow is imported."""
    if args.pretrained == OWN_DENSE:
        _check_own_dense(args)
    elif args.pretrained is not None:
        check_file(Path(args.pretrained), "--pretrained")
    entry = DATASETS[args.dataset]
    if entry.needs_folder and not args.dry_run:
        check_pictures(Path(args.data_dir).expanduser())
    if entry.needs_file:
        check_arrays(Path(args.data_dir).expanduser(), args.dataset)
    if entry.table and (args.num_queries or 1) > 1:
        raise UsageError(
            f"argument --num-queries: {args.num_queries} needs pictures, and --dataset {args.dataset} is a table, "
            "whose rows are asked about as they are; leave the flag out"
        )


def _check_own_dense(args: argparse.Namespace) -> None:
    if Path(OWN_DENSE).exists():
        raise UsageError(
            f"argument --pretrained: {OWN_DENSE} is this sweep's own dense cell, and a path here has that name; give "
            f"./{OWN_DENSE} for the path"
        )
    if "methods" not in args:
        raise UsageError(
            f"argument --pretrained: {OWN_DENSE} is the dense cell of a sweep, which train.py has; give a file, or the "
            "folder of a finished cell"
        )


def _place_file(args: argparse.Namespace) -> None:
    """`--dataset FILE.npz` is the data set of the file's kind, with the file in the place of `--data-dir`."""
    file = getattr(args, "dataset", None)
    if file is None or file in DATASETS:
        return
    if "data_dir" in args.named and args.data_dir != file:
        raise UsageError(f"argument --data-dir: --dataset {file} says itself where the data are; leave the flag out")
    from data.npz_file import kind_of

    args.dataset, args.data_dir = kind_of(Path(file).expanduser()), file


def _fit_preset(args: argparse.Namespace) -> None:
    """Take back what a preset says of its own network, of pictures or of methods, where a flag names another network,
    a table or other methods."""
    preset = PRESETS.get(getattr(args, "preset", None) or "", {})
    if "arch" in preset and args.arch != preset["arch"]:
        for name in {"layers", "width_mult"} & set(preset) - args.named:
            setattr(args, name, None)
    if "num_queries" in preset and "num_queries" not in args.named and DATASETS[args.dataset].table:
        args.num_queries = None
    if "pretrained" in preset and "methods" not in args and "pretrained" not in args.named:
        args.pretrained = None  # its own dense cell, which one run has not
    if "replicate_cells" in preset and "replicate_cells" not in args.named and not getattr(args, "replicates", 0):
        args.replicate_cells = []
    if "methods" in preset:
        _fit_methods(args, preset)


def _fit_methods(args: argparse.Namespace, preset: Mapping[str, Any]) -> None:
    """Knobs that no method of the command has, and controls where it has no dense cell."""
    given = args.methods if "methods" in args else [args.prune_method or BASELINE]
    methods = [own_code.name_of(one) for one in given]
    read = {name for method in methods for name in METHODS[method].Knobs.names()}
    for name in {*BUILT_IN_KNOBS} & set(preset) - args.named - read:
        setattr(args, name, None)
    if "controls" not in args.named and BASELINE not in methods:
        args.controls = []


def _named(parser: argparse.ArgumentParser, tokens: Sequence[str]) -> frozenset[str]:
    """The settings that these words of a command line give a value."""
    unset = object()
    probe = argparse.Namespace(**{action.dest: unset for action in parser._actions})
    parser.parse_known_args(list(tokens), probe)
    return frozenset(name for name, value in vars(probe).items() if value is not unset)


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse; a preset's values come first, a configuration file's over them, explicit flags over both.

    `named` of what is returned: the settings that the file or a flag gives, as opposed to a preset or a default.
    """
    explicit = list(sys.argv[1:] if argv is None else argv)
    scout = OneLineParser(add_help=False, allow_abbrev=False)
    scout.add_argument("--config")
    scout.add_argument("--preset")
    found = scout.parse_known_args(explicit)[0]
    tokens: list[str] = []
    if found.preset in PRESETS:
        known = settings_of(parser)
        preset = {name: value for name, value in PRESETS[found.preset].items() if name in known}
        tokens += as_tokens(
            {name: always_there() if value is EVERY else value for name, value in preset.items()}, known
        )
    of_preset = len(tokens)
    if found.config is not None:
        tokens += read_tokens(Path(found.config), parser)
    args = parser.parse_args(tokens + explicit)
    args.named = _named(parser, tokens[of_preset:] + explicit)
    _place_file(args)
    _fit_preset(args)
    if getattr(args, "quiet", False) and args.verbose:
        raise UsageError("argument --quiet: cannot go with --verbose; give one of them")
    if getattr(args, "skip_existing", False) and args.overwrite:
        raise UsageError("argument --skip-existing: cannot go with --overwrite; give one of them")
    return args

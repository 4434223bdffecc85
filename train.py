"""Train a sweep of dense and pruned networks with their shadow models, attack them, and write tables and figures."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from cli.main import DONE, SOME_FAILED, run_main
from cli.parser import CHOICES, add_places, add_training_flags, new_parser
from configs.config import AttackOptions, SweepOptions
from configs.knobs import add_flags, from_args

log = logging.getLogger("train")


def build_parser() -> argparse.ArgumentParser:
    """The flags of train.py."""
    parser = new_parser(__doc__ or "", "python train.py --preset quick")
    add_flags(parser, SweepOptions, "sweep", CHOICES)
    add_training_flags(parser)
    attacks = add_flags(parser, AttackOptions, "attacks", CHOICES)
    attacks.add_argument("--no-mia", action="store_true", help="train only; attack nothing")
    add_places(parser, "runs_dir", "results_dir", "summary_dir", "data_dir")
    return parser


def body(args: argparse.Namespace) -> int:
    """Plan, train what is missing, evaluate."""
    from cli.training import choose_runs, print_plan, runs_folder, template_of, train_runs
    from sweep.plan import plan_cells, plan_runs

    options: AttackOptions = from_args(AttackOptions, args)
    cells = plan_cells(template_of(args), from_args(SweepOptions, args), args.data_dir)
    if not args.no_mia:
        from cli.evaluation import check_shadows

        check_shadows(options, args.num_shadows, "every cell")
    planned = plan_runs(cells, runs_folder(args))
    if args.dry_run:
        print_plan(planned)
        return DONE
    chosen = choose_runs(planned, args.skip_existing, args.overwrite)
    samia = not args.no_mia and (options.attacks is None or "samia" in options.attacks) and args.num_shadows > 0
    group = f"sweep-{args.dataset}-{args.arch}"
    failed = train_runs(chosen, args, samia, args.num_queries, group)
    code = _evaluate(args, options, group)
    for line in failed:
        log.error("failed: %s", line)
    return SOME_FAILED if failed else code


def _evaluate(args: argparse.Namespace, options: AttackOptions, group: str) -> int:
    """Attack everything below --runs-dir (unless --no-mia) and write the two summary tables."""
    import torch

    from cli import evaluation
    from configs.config import Places, Tracking
    from mia.registry import SUITES
    from reporting import tables
    from sweep.cells import find_cells
    from sweep.local import cores
    from training.tracking import Tracker

    torch.set_num_threads(args.num_threads or cores())
    cells = find_cells(Path(args.runs_dir))
    summary_dir = Path(args.summary_dir)
    training_file = summary_dir / "training_results.csv"
    tables.write_csv(training_file, tables.training_table(evaluation.training_rows(cells)))
    if args.no_mia:
        print(f"training  {training_file}")
        return DONE
    names = evaluation.attack_names(options, SUITES)
    results = evaluation.evaluate(cells, names, options, from_args(Places, args), args.device)
    wide = summary_dir / "comprehensive_mia_results.csv"
    tracker = Tracker(from_args(Tracking, args), group, Path(args.results_dir))
    code = evaluation.finish(results, Path(args.results_dir), wide, tracker)
    print(f"training {training_file}")
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(build_parser, body, argv)


if __name__ == "__main__":
    sys.exit(main())

"""`--fail-above auc=0.6`: whether cells leak more than a limit, as an exit code and a line for each limit.

A cell is above a limit where its whole 95 % interval is (of `epsilon_lower`, the bound itself), below where its whole
interval is below or at it, and undecided where the limit lies inside, or where there is no interval. One cell above
decides for all; else one that is undecided.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cli.main import ABOVE_LIMIT, DONE, UNDECIDED
from configs.suggest import did_you_mean

if TYPE_CHECKING:
    from evaluation.gather import Evidence

BELOW, ABOVE = DONE, ABOVE_LIMIT
EPSILON = "epsilon_lower"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Limit:
    """The highest value of a metric that is let through."""

    metric: str
    value: float


class _Every(argparse.Action):
    """Limits of every time that the flag is given: of a gate none may get lost. Those of a --config file hold too."""

    def __call__(
        self, parser: object, namespace: argparse.Namespace, values: Any, option_string: object = None
    ) -> None:
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*(before if isinstance(before, list) else ()), *values])


def add_gate_flag(parser: argparse.ArgumentParser) -> None:
    """`--fail-above`."""
    parser.add_argument_group("gate").add_argument(
        "--fail-above",
        action=_Every,
        nargs="+",
        type=_limit,
        metavar="METRIC=X",
        help="exit with 5 where the headline attack's figure of a cell, such as auc=0.6, tpr_at_fpr_0.01=0.05 or "
        "epsilon_lower=1, lies above X with its whole interval, with 6 where that cannot be told (default: no limit)",
    )


def _limit(text: str) -> Limit:
    from attacks.metrics import METRICS

    metric, _, number = text.partition("=")
    names = (*METRICS, EPSILON)
    if metric not in names:
        near = did_you_mean(metric, names)
        raise argparse.ArgumentTypeError(f"{metric!r} is no metric; give METRIC=X, METRIC of {', '.join(names)}{near}")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    high = math.inf if metric == EPSILON else 1.0
    if not 0.0 <= value <= high or math.isinf(value):
        allowed = "a number of at least 0" if metric == EPSILON else "a number from 0 to 1"
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; give {metric}= and {allowed}")
    return Limit(metric, value)


def judge(evidence: Evidence, limits: Sequence[Limit], all_targets: bool) -> tuple[int, list[str]]:
    """The exit code, and a line for each limit. all_targets: whether more models would all play the target.

    Of all cells but controls, which are nobody's release. The headline attack is the evaluation's.
    """
    found = [_judge(evidence, limit, all_targets) for limit in limits]
    codes = [code for code, _ in found]
    return next((code for code in (ABOVE, UNDECIDED) if code in codes), BELOW), [line for _, line in found]


def _judge(evidence: Evidence, limit: Limit, all_targets: bool) -> tuple[int, str]:
    from attacks.registry import ATTACKS, headline_of

    attack = headline_of({key for one in evidence.scored for key in one.results})
    by_cell: dict[int, list[str]] = {BELOW: [], ABOVE: [], UNDECIDED: []}
    for cell in evidence.cells:
        if cell.get("control") is None:
            code, words = _cell(evidence, cell, attack, limit, all_targets)
            by_cell[code].append(f"{cell['experiment']} {words}")
    code = next((code for code in (ABOVE, UNDECIDED) if by_cell[code]), BELOW)
    verdict = {BELOW: "passed", ABOVE: "failed", UNDECIDED: "undecided, not enough evidence"}[code]
    verdict += ", which proves nothing, being a lower bound" if (code, limit.metric) == (BELOW, EPSILON) else ""
    title = f" of {ATTACKS[attack].title}" if attack else ""
    return code, f"gate {limit.metric}={limit.value:g}{title}: {verdict}: {'; '.join(by_cell[code])}"


def _cell(evidence: Evidence, cell: Row, attack: str | None, limit: Limit, all_targets: bool) -> tuple[int, str]:
    """What becomes of one cell, and its figure or what is missing, in words that follow its name."""
    if cell["reason"]:
        return UNDECIDED, f"was not attacked ({cell['reason']})"
    if limit.metric == EPSILON:
        bound = cell.get(EPSILON)
        if bound is None:
            return UNDECIDED, f"has no bound ({cell.get('epsilon_reason')})"
        return ABOVE if bound > limit.value else BELOW, f"{math.floor(1000 * bound) / 1000:.3f}"
    wanted = (cell["experiment"], attack, limit.metric)
    row = next((row for row in evidence.summary if tuple(map(row.get, _KEY)) == wanted), {})
    if row.get("mean") is None:
        return UNDECIDED, f"has no such figure ({_why_not(evidence, cell, attack, limit.metric)})"
    if row["ci_low"] is None or row["ci_high"] is None:
        # of networks that memorise all they hold, say: nothing varies, which is no reason to let them through
        return ABOVE if row["mean"] > limit.value else UNDECIDED, f"{row['mean']:.3f} in every target and resample"
    text = f"{row['mean']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
    if row["ci_low"] > limit.value:
        return ABOVE, text
    if row["ci_high"] <= limit.value:
        return BELOW, text
    return UNDECIDED, f"{text} ({more_models(row, limit.value, cell['split'] == 'pairs', all_targets)})"


_KEY = ("experiment", "attack", "metric")


def _why_not(evidence: Evidence, cell: Row, attack: str | None, metric: str) -> str:
    from attacks.metrics import FEWEST_FALSE_POSITIVES, FPR_LIMITS

    reasons = [one.unavailable for one in evidence.scored if one.asked.experiment == cell["experiment"]]
    known = next(iter(reasons), {}).get(attack or "")
    if known is None and metric in FPR_LIMITS:
        return f"it takes {FEWEST_FALSE_POSITIVES / FPR_LIMITS[metric]:,.0f} non-members of every target"
    return known or "it is not defined here"


def more_models(row: Row, limit: float, in_pairs: bool, all_targets: bool) -> str:
    """How many models more would tell, if the figure stayed what it is, in words.

    row: of the summary, with `common`, what of the interval more models do not take away. A figure so near to its
    limit that the examples alone leave it open is not helped by any number of models, and that is said.
    """
    from attacks.intervals import targets_for
    from configs.attacks import MOST_TARGETS

    if row["num_targets"] < 2:
        return "of one target network, which does not tell how many more would do; --num-targets all attacks each"
    mean, half = row["mean"], max(row["mean"] - row["ci_low"], row["ci_high"] - row["mean"])
    targets = targets_for(abs(mean - limit), half, row["common"], row["num_targets"])
    if targets is None:
        return "more models alone would not do: its examples leave it open"
    more = targets - row["num_targets"]
    more += more % 2 if in_pairs else 0
    flag = " with --num-targets all" if targets > MOST_TARGETS and not all_targets else ""
    return f"about {more:,} more models would do{flag}"

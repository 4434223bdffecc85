"""The words of a report, each explained once, and the places on the page that show what is explained there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup, escape


@dataclass(frozen=True)
class Term:
    """A word, what it means, and the regular expression of how it is written."""

    name: str
    meaning: str
    pattern: str

    @property
    def anchor(self) -> str:
        """The id of its meaning on the page."""
        return "term-" + re.sub(r"\W+", "-", self.name.lower()).strip("-")


CELL = "one pruning method at one sparsity, a target network and its shadow models from the very same pipeline"
AUC = "the chance that a random member scores above a random non-member; 0.5 is guessing"
TPR = (
    "the share of members found while at most k non-members are accused, k being 1 % of those of the target that has "
    "fewest; its FPR on others like them is (k + 1) / (n + 1) on average, and k below 5 is left empty"
)
GAP = "train minus held-out accuracy: what a network knows of its members beyond what it knows of others"
EXPOSURE = (
    "how much surer of an example the networks are that hold it than those that do not: mean phi (the logit of the "
    "true class's probability) over the one minus over the other, each network's mean over its members and over its "
    "non-members taken off"
)
# A longer word stands before one that it contains.
TERMS = (
    Term("AUC", AUC, r"AUCs?"),
    Term("TPR at 1 % FPR", f"{TPR}; at 0.1 % FPR likewise", r"TPR ?(?:at|@) ?[\d.]+ ?%(?: ?FPR)?|false positives"),
    Term("Cell", CELL, r"cells?"),
    Term("Shadow model", "a network that the adversary trains as the target was trained, on examples of which it knows "
         "whether they are members", r"shadow models?"),
    Term("Target", "a network that is attacked", r"targets?(?: networks?)?(?! epoch)"),
    Term("Member", "an example that a network was trained on; any other example of the pool is a non-member",
         r"(?:non-)?members?"),
    Term("Signals", "what an attack reads off the networks' answers: a number or a few for each example and network, "
         "such as phi", r"signals?"),
    Term("Phi", "the logit of the probability that a network gives the true class: log(p / (1 - p))", r"phi"),
    Term("Exposure", EXPOSURE, r"exposures?"),
    Term("Interval", "[low, high]: a procedure that gives such a range holds the true figure in 95 of 100 repetitions; "
         "over examples, and over networks where a cell has several targets",
         r"95 %(?: confidence)? intervals?|intervals?|\[95 %\]"),
    Term("Holm", "Holm's correction: p-values are raised for the number of tests, so that the chance of a single wrong "
         "finding among all of them stays below 5 %", r"Holm(?:'s correction)?"),
    Term("Null", "what a figure would be if there were nothing to find; a finding is what lies beyond it", r"nulls?"),
    Term("Replicate", "a cell trained again on the same memberships, from other starts and batches; what it differs by "
         "is the chance of training", r"replicates?|trained again|train seed"),
    Term("Sparsity", "the share of prunable weights that are zero", r"sparsit(?:y|ies)"),
    Term("Gap", GAP, r"gap"),
    Term("Held-out accuracy", "accuracy on the examples of the pool that the network was not trained on",
         r"held-out acc(?:uracy)?"),
    Term("Epsilon", "the parameter of differential privacy; what is given is a lower bound on the epsilon that this "
         "training could claim, and 0 proves nothing", r"epsilon"),
)  # fmt: skip
_ANY = re.compile(
    rf"(?<![\w@-])(?:{'|'.join(f'(?P<t{i}>{term.pattern})' for i, term in enumerate(TERMS))})(?![\w-])", re.IGNORECASE
)
_HEADING = re.compile(r"<th((?: [^>]*)?)>(.*?)</th>", re.DOTALL)


def _term(found: re.Match[str]) -> Term:
    return TERMS[next(int(name[1:]) for name, text in found.groupdict().items() if text)]


def linked(text: str) -> Markup:
    """HTML or text whose first mention of each term links to its meaning. HTML: as Markup, and without links in it."""
    seen: set[str] = set()

    def link(found: re.Match[str]) -> str:
        term = _term(found)
        if term.name in seen:
            return found[0]
        seen.add(term.name)
        return f'<a class="term" href="#{term.anchor}" aria-describedby="{term.anchor}">{found[0]}</a>'

    pieces = re.split(r"(<[^>]*>)", str(escape(text)))
    return Markup("".join(piece if piece.startswith("<") else _ANY.sub(link, piece) for piece in pieces))


def with_headings(page: str) -> str:
    """The page, each heading of a table with its scope, and with the term in it that the script explains there.

    page: HTML as the template writes it: no table in a table, and all text escaped.
    """

    def headed(heading: re.Match[str]) -> str:
        attributes, text = heading[1], heading[2]
        found = _ANY.search(text)
        if "scope=" not in attributes:
            attributes += ' scope="col"'
        if found and 'scope="col"' in attributes:
            attributes += f' data-term="{_term(found).anchor}"'
        return f"<th{attributes}>{text}</th>"

    return _HEADING.sub(headed, page)

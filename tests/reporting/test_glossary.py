"""Words are explained where they first stand, and never in place of what somebody else wrote."""

from __future__ import annotations

import re

from markupsafe import Markup

from reporting.glossary import TERMS, linked, with_headings


def test_the_first_mention_links_to_the_meaning_and_text_stays_text() -> None:
    made = linked("AUC of <b>cell</b> & two cells, by AUC")
    assert re.sub("<a [^>]*>|</a>", "", made) == "AUC of &lt;b&gt;cell&lt;/b&gt; &amp; two cells, by AUC"
    assert re.findall('href="#([^"]*)"', made) == ["term-auc", "term-cell"]
    assert linked(Markup('<p title="AUC">excellent phi</p>')) == (
        '<p title="AUC">excellent <a class="term" href="#term-phi" aria-describedby="term-phi">phi</a></p>'
    )
    assert linked("TPR at 0.1 % FPR").count("term-tpr-at-1-fpr") == 2
    assert "<a" not in linked("target epoch, pre-cell, --num-targets, cells_b")


def test_every_term_has_one_place_and_finds_its_own_name() -> None:
    assert len({term.anchor for term in TERMS}) == len(TERMS)
    for term in TERMS:
        assert f'href="#{term.anchor}"' in linked(term.name)


def test_headings_of_tables_have_their_scope() -> None:
    row = '<thead><tr><th class="text">Cell</th><th>Other</th><th colspan="2" scope="rowgroup">Gap</th></tr></thead>'
    assert with_headings(row) == (
        '<thead><tr><th class="text" scope="col" data-term="term-cell">Cell</th><th scope="col">Other</th>'
        '<th colspan="2" scope="rowgroup">Gap</th></tr></thead>'
    )

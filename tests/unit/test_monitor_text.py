"""The summary of a check: golden files, and what no name or value may do to it."""

from __future__ import annotations

import html
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from unit import monitor_reports as reports

from modelyard.monitor import text
from modelyard.monitor.report import Answer, Monitoring
from modelyard.page import markdown, plain

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def tokens(markdown: str) -> list[Token]:
    found = MARKDOWN.parse(markdown)
    return [token for block in found for token in (block, *(block.children or ()))]


@pytest.mark.parametrize("make", reports.ALL, ids=lambda make: make.__name__)
def test_the_summary_is_as_it_was(make: Callable[[], Monitoring]) -> None:
    """Each report's summary is its golden file; ``python -m unit.monitor_reports`` in tests/ writes them anew."""
    assert text.summary(make()) + "\n" == (reports.GOLDEN / f"{make.__name__}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("make", reports.ALL, ids=lambda make: make.__name__)
def test_the_verdict_stands_in_the_first_line(make: Callable[[], Monitoring]) -> None:
    """The first line holds verdict, window and reason, and nothing else does before it."""
    found = make()

    first = text.summary(found).splitlines()[0]

    window = " on 2013-06-03 to 2013-07-01" if found.window else ""
    assert first.startswith(f"**monitor: {found.verdict}**{window}: ")


@pytest.mark.parametrize("make", reports.ALL, ids=lambda make: make.__name__)
def test_only_our_own_html_and_whole_tables_are_in_it(make: Callable[[], Monitoring]) -> None:
    """Names and values make no HTML, no link, no heading, no mention, and no cell of a table."""
    found = tokens(text.summary(make()))

    raw = "".join(token.content for token in found if token.type in ("html_block", "html_inline"))
    assert raw.count("<") == raw.count("<details><summary>") * 2 + raw.count("</summary>") + raw.count("</details>")
    assert not [token for token in found if token.type in ("link_open", "image", "fence", "code_block", "blockquote_open")]
    assert [token.content for token in found if token.type == "inline" and token.content.startswith("What moved")]
    shown = " ".join(token.content for token in found if token.type == "text")
    assert "@everyone" not in shown
    assert "https://" not in shown
    row: list[str] = []
    widths: list[list[int]] = []
    for token in found:
        if token.type == "table_open":
            widths.append([])
        elif token.type == "tr_open":
            row = []
        elif token.type in ("th_open", "td_open"):
            row.append(token.type)
        elif token.type == "tr_close":
            widths[-1].append(len(row))
    assert widths
    assert all(len(set(table)) == 1 for table in widths)


@given(st.text(max_size=80))
@example("__0__ 1) a @b #1 www.x <b> &lt;")
def test_free_text_is_shown_as_it_is(said: str) -> None:
    """Escaped text is rendered as the text itself, on one line, in which invisible marks only break mentions and links."""
    shown = html.unescape(MARKDOWN.renderInline(markdown.plain(said)))

    assert shown.replace("\u200b", "") == plain.line(said)


@given(st.text(min_size=1, max_size=50))
def test_a_name_is_a_code_span_in_a_table(name: str) -> None:
    """A name comes out of a table's cell as it went in, as code."""
    found = tokens(f"| a | b |\n|---|---|\n| {markdown.code(name)} | c |")

    assert [token.content for token in found if token.type == "code_inline"] == [plain.line(name, 60) or "(empty)"]
    assert len([token for token in found if token.type == "td_open"]) == 2


@given(st.lists(st.none() | st.floats(), max_size=40), st.lists(st.none() | st.floats(), max_size=8))
@example([], [3.5e302, -1.7e308])
def test_the_chart_has_a_character_for_each_block(old: list[float | None], new: list[float | None]) -> None:
    """Higher blocks are never drawn lower, and what is not known is a dot."""
    drawn = text.chart(old, new)

    bars = drawn.replace("│", "", 1)
    values = [*old, *new]
    real = [(value, bar) for value, bar in zip(values, bars, strict=False) if value is not None and abs(value) < float("inf")]
    assert len(bars) == (len(values) if real else 0)
    assert [bar for _, bar in sorted(real)] == sorted(bar for _, bar in real)
    assert "·" not in [bar for _, bar in real]


def test_the_chart_of_blocks() -> None:
    """The reference's blocks, a line, the current ones; equal values are in the middle."""
    assert text.chart([0, 1, None, 7], [3.5]) == "▁▂·█│▄"
    assert text.chart([2, 2], [2]) == "▄▄│▄"
    assert text.chart([], [None]) == ""


def test_what_rests_on_independent_rows_says_so_in_the_first_line() -> None:
    """Also a healthy verdict by chance names its assumption."""
    found = replace(reports.by_chance(), verdict="healthy", reason="No check fired.")

    assert text.summary(found).splitlines()[0] == "**monitor: healthy**: No check fired (assumes independent rows)."


def test_a_person_is_asked_where_approval_is_required() -> None:
    """The second paragraph, and an annotation, say who must do what."""
    found = reports.approval()

    assert "A person must start the training: dispatch the workflow train." in text.summary(found).splitlines()[2]
    assert text.sentences(found)[1].startswith("A person must start the training")


def test_top_three_causes_are_told() -> None:
    """The segments that carry a shift, how much of it, and how."""
    said = text.summary(reports.drifted())

    assert (
        "`origin = JFK`: 62 % of it, moved within; `origin = EWR`: 23 % of it, shrank from 35.7 % to 29.1 % of the rows; `carrier" in said
    )
    assert "HA" not in said


def test_an_estimate_is_marked() -> None:
    """It is said to be none measured, what it assumes, and that it decides nothing."""
    said = text.summary(reports.unknown())

    assert "**An estimate, not measured.** roc_auc would be 0.7253. It assumes calibrated scores" in said
    assert "decides nothing" in said


@pytest.mark.parametrize("make", reports.ALL, ids=lambda make: make.__name__)
def test_sentences_are_few_and_on_one_line(make: Callable[[], Monitoring]) -> None:
    """At most nine, each on one line, none twice."""
    said = text.sentences(make())

    assert len(said) <= 9
    assert len(set(said)) == len(said)
    assert all(sentence == " ".join(sentence.split()) for sentence in said)


def test_a_healthy_check_has_no_sentences() -> None:
    """Nothing is annotated where nothing fired."""
    assert text.sentences(reports.healthy()) == ()
    assert text.sentences(reports.unknown()) == ()


def test_columns_are_told_together() -> None:
    """Forty alarmed columns are one sentence per question, with five names."""
    columns = tuple(
        replace(reports.DELAY, column=f"column_{i}", missing=Answer(size=0.2, reference=0.0, current=0.2, alarm=i < 2)) for i in range(40)
    )

    said = text.sentences(replace(reports.broken(), columns=columns, reasons=()))

    assert said[1:] == (
        "The shape has moved in 40 columns: column_0, column_1, column_2, column_3, column_4 and 35 more.",
        "More values are missing in 2 columns: column_0, column_1.",
    )


def test_a_wide_table_stays_short() -> None:
    """A summary of 3,000 columns fits an issue, and tells how many it leaves out."""
    columns = tuple(replace(reports.DELAY, column=f"column_{i}") for i in range(3000))

    said = text.summary(replace(reports.drifted(), columns=columns))

    assert len(said) < 60_000
    assert "2975 more stand in the report." in said
    assert "2900 more columns stand in the report." in said


def test_it_needs_the_standard_library_only() -> None:
    """The summary of a bare check loads no pandas, jinja2, pydantic, rich or numpy."""
    script = "import sys, modelyard.monitor.text; print(*{'pandas', 'jinja2', 'pydantic', 'rich', 'scipy', 'numpy'} & set(sys.modules))"

    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()

    assert loaded == []

"""Pages: one self-contained file each, without scripts or a network, light and dark.

Templates place what the views return. Whatever a template puts out goes through ``_shown`` and is
escaped: text of others is cut, made printable and inert. The same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from markupsafe import Markup

from w2v_core.printable import printable, shorten
from w2v_core.report.charts import MOST_ROWS
from w2v_core.report.names import shared
from w2v_core.report.tables import STARTING, gaps, held, shown
from w2v_core.report.text import figure, html_safe
from w2v_core.report.views import accuracy, speed, stages, verdict
from w2v_core.report.views.matrix import matrix, shown_status
from w2v_core.report.views.ranking import absent, doubts, headline, is_alone, standings
from w2v_core.report.views.trend import CUSUM_LIMIT, FIRST_NIGHTS, trends

if TYPE_CHECKING:
    from pathlib import Path

    import jinja2

    from w2v_core.verdict.baseline import Baseline
    from w2v_core.verdict.run import Run

SECTIONS = (
    "Worst cells",
    "Matrix",
    "Throughput",
    "Latency",
    "WER",
    "WER cost of stock padding",
    "Stages",
    "Buckets and padding",
    "Worst utterances",
    "Nights",
    "Warnings",
    "Fingerprint",
    "Command",
)
"""Of a run's page, in its order; each has a template block of its name."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""No script and no network, whatever gets into the page."""

MAX_TEXT_CHARS = 400
_MAX_WHOLE_CHARS = 20_000
_WORD_CHARS = 60


def render_page(run: Run) -> str:
    """Render a run as one page; a section without data says what would bring it."""
    records = run.records
    order, lost = standings(run), absent(run)
    nights = trends(run.nights, records, run.baseline) if run.nights is not None else None
    has_anchor = run.baseline is not None
    return render(
        "page.html.j2",
        run=run,
        order=order,
        lost=lost,
        sections=SECTIONS,
        headline=headline(run),
        shared=shared(records),
        matrix=matrix(order, lost),
        starting=held(STARTING, records),
        nights=nights,
        gaps=gaps(records),
        level="anchor" if has_anchor else f"median of the first {FIRST_NIGHTS} nights",
        doubts=doubts(order),
        recipes=sorted({r.text_normalisation for r in records if r.wer is not None}),
    )


def render_history(path: Path, baselines: Sequence[Baseline] = ()) -> str:
    """Render all runs of a history as one page.

    Raises:
        RecordError: it cannot be read.
    """
    from w2v_core.report.views.history import overview

    found = overview(path, baselines)
    return render("history.html.j2", title=f"{found.runs} runs", all=found)


def render(template: str, **values: object) -> str:
    """Fill a template of this package."""
    return _environment().get_template(template).render(**values)


def drawn_of(rows: Sequence[object]) -> str:
    """Say how many of the rows a chart or table shows; empty where it shows all."""
    if len(rows) <= MOST_ROWS:
        return ""
    return f" Shown are {MOST_ROWS} of {len(rows)} cells, those with most against them first."


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("w2v_core.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(figure=figure, cut=shorten, anchor=_anchor, whole=_whole)
    environment.globals.update(
        accuracy=accuracy,
        cusum_limit=CUSUM_LIMIT,
        drawn_of=drawn_of,
        is_alone=is_alone,
        most_rows=MOST_ROWS,
        policy=POLICY,
        shown_status=shown_status,
        speed=speed,
        shown=shown,
        stages=stages,
        verdict=verdict,
        words=_words,
    )
    return environment


def _shown(value: object) -> object:
    """Make what a template puts out printable; markup of a macro is taken as it is."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return printable(shorten(value, MAX_TEXT_CHARS))
    return value


def _whole(text: str, limit: int = _MAX_WHOLE_CHARS) -> Markup:
    """Escape text that is not cut at the common limit: lines of points, links, a command."""
    return Markup(html_safe(text, limit=limit))


def _words(words: Sequence[str]) -> Markup:
    return Markup(" ".join(html_safe(word, limit=_WORD_CHARS) for word in words))


def _anchor(title: str) -> str:
    return "-".join(title.lower().split())

"""Hostile ids, paths, transcripts and errors neither break a report nor execute anywhere."""

import csv
import json
import re
from dataclasses import replace

import pandas as pd
import pytest

from tests.helpers.html import Page
from tests.helpers.pages import page_of
from tests.helpers.records import make_record, make_scores
from w2v_core.errors import DataError
from w2v_core.records.record import from_json, to_json
from w2v_core.records.store import read_run, reserve
from w2v_core.report.files import write_run
from w2v_core.report.markdown import MAX_BYTES
from w2v_core.report.tables import matrix, text_table
from w2v_core.verdict.run import Run

HOSTILE = {
    "html": '<script>alert(1)</script><img src=x onerror="alert(2)">',
    "attribute": "\" onmouseover='alert(3)' x=\"",
    "closing": "</td></table></style></title></svg><svg onload=alert(4)>",
    "entity": "&lt;script&gt;&#60;b&#62;",
    "comment": "<!-- --!> ]]>",
    "ansi": "\x1b[2J\x1b]0;title\x07\x9b31m",
    "newlines": "one\ntwo\r\nthree\u2028four\u0085five",
    "markdown": "| a | **b** | [x](javascript:alert(5)) `c` ![i](http://x/y.png)",
    "formula": '=HYPERLINK("http://x","y")',
    "quotes": '\'",;\t""',
    "long": "W" * 10_000,
    "direction": "\u202egnp.exe\u2066",
    "surrogate": "name\udcff.flac",
    "nul": "a\x00b",
    "mathtext": "$\\frac{$ $x^{2$",
    "format": "%s %n {0} {record}",
}
STEERS_A_TERMINAL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
TEXT_FILES = (
    "hypotheses.jsonl",
    "perf_metric.csv",
    "run.json",
    "summary.csv",
    "summary.html",
    "summary.md",
)


def make_hostile(text):
    """A record with the text wherever somebody else's text can be."""
    scores = tuple(
        replace(
            s,
            utterance_id=f"{text}{i}",
            speaker=text,
            reference=f"{text} A",
            hypothesis=f"B {text}",
            latency_s=0.1,
        )
        for i, s in enumerate(make_scores(utterances=3))
    )
    return replace(
        make_record(),
        cell=text,
        run_id=text,
        release=text,
        device_name=text,
        model=text,
        dataset=text,
        batch_plan=text,
        text_normalisation=text,
        created_utc=text,
        environment={text: text, "commit": text},
        command=text,
        failed=(text,),
        excluded={text: text},
        valid=False,
        invalid_reasons=(text, f"first {text}"),
        scores=scores,
    )


@pytest.fixture(scope="module", params=HOSTILE.values(), ids=HOSTILE.keys())
def written(request, tmp_path_factory):
    """A run of a hostile record beside a sound one: its records and its directory."""
    directory = reserve(tmp_path_factory.mktemp("r"), release=request.param, run_id=request.param)
    records = [make_hostile(request.param), make_record()]
    write_run(directory, Run(records=tuple(records)))
    return records, directory


def test_the_records_come_back_as_they_were(written):
    assert read_run(written[1]).records == tuple(written[0])


@pytest.mark.parametrize("name", TEXT_FILES)
def test_no_file_steers_a_terminal(written, name):
    text = (written[1] / name).read_bytes().decode("utf-8")

    assert STEERS_A_TERMINAL.search(text.replace("\r\n", "\n")) is None


def test_nothing_foreign_becomes_an_element_or_an_attribute_of_a_page(written):
    for page in (written[1] / "summary.html", written[1].parent.parent / "index.html"):
        parsed = Page(page.read_text())
        found = parsed.elements

        assert parsed.problems == []
        assert set(parsed.tags) & {"script", "img", "iframe", "object", "embed"} == set()
        assert [a for _, attrs in found for a in attrs if a.startswith("on")] == []
        assert [a for _, attrs in found for a in attrs.values() if "javascript:" in (a or "")] == []


def test_a_page_keeps_all_its_sections(written):
    titles = [
        t for level, t in Page((written[1] / "summary.html").read_text()).headings if level == "h2"
    ]
    sound = [t for level, t in Page(page_of(make_record())).headings if level == "h2"]

    assert titles == sound


def test_a_page_stays_small(written):
    assert (written[1] / "summary.html").stat().st_size < 200_000


def test_the_table_keeps_its_rows_and_columns(written):
    with (written[1] / "summary.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))

    assert len(rows) == 3
    assert len({len(row) for row in rows}) == 1


def test_the_rows_of_perf_metric_are_lines(written):
    lines = (written[1] / "perf_metric.csv").read_text().split("\n")

    assert len(lines) == 1 + 3 + 12 + 1


def test_no_cell_of_a_table_is_a_formula(written):
    for name in ("summary.csv", "perf_metric.csv"):
        table = pd.read_csv(written[1] / name, dtype=str, keep_default_na=False)
        values = table.to_numpy().ravel().tolist()

        assert [v for v in values if v.startswith(("=", "@"))] == []


def test_each_hypothesis_is_one_line_and_keeps_its_text(written):
    records, directory = written
    lines = (directory / "hypotheses.jsonl").read_bytes().decode().splitlines()

    texts = [json.loads(line)["hypothesis"] for line in lines]
    assert texts == [s.hypothesis for r in records for s in r.scores]


def test_the_summary_keeps_its_table_and_its_size(written):
    text = (written[1] / "summary.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("|")]

    assert len(text.encode()) <= MAX_BYTES
    assert len(table) == 4
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1


def test_the_summary_holds_no_markup_of_others(written):
    prose = [
        line
        for line in (written[1] / "summary.md").read_text().splitlines()
        if not line.startswith("    ")  # the command, a code block
    ]
    bare = re.sub(r"`[^`]*`", "", "\n".join(prose))

    assert re.search(r"(?<!\\)<", bare) is None
    assert set(re.findall(r"(?<!\\)\]\(([^)]*)\)", bare)) == {"summary.html", "summary.csv"}


def test_the_parquet_file_is_readable(written):
    assert len(pd.read_parquet(written[1] / "summary.parquet")) == 2


def test_the_terminals_matrix_keeps_one_line_a_cell(written):
    text = text_table(matrix(written[0]))

    assert len(text.splitlines()) == 4


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_message_steers_a_terminal(text):
    """pytest shows an error's message as it is; the lines of one stay lines."""
    told = str(DataError(f"{text}: is not there\n  {text}"))

    assert STEERS_A_TERMINAL.search(told) is None
    assert told.count("\n") == text.count("\n") * 2 + 1


def test_a_record_survives_its_json(written):
    (record, _) = written[0]

    assert from_json(json.loads(json.dumps(to_json(record)))) == record

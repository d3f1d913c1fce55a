"""Release against release: intervals, Holm's procedure, attribution, and what is shown."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.helpers.records import CELLS, ENVIRONMENT, make_record, make_run, make_scores, write_run
from w2v_core.errors import ConfigError, RecordError
from w2v_core.records.fingerprint import difference
from w2v_core.records.history import History
from w2v_core.report.comparison import (
    csv_rows,
    render_csv,
    render_markdown,
    render_text,
    to_json,
)
from w2v_core.verdict.commands import compare_sides
from w2v_core.verdict.relative import _holm, compare
from w2v_core.verdict.relative_outcome import INTERVAL_LEVEL
from w2v_core.verdict.statistics import lower_bound, stratified_effects, upper_bound

LARGE = make_scores(utterances=100, words=50, speakers=20)
NEWER = {**ENVIRONMENT, "synapse_build": "1.25.0.100", "torch": "2.10.0", "PT_HPU_LAZY_MODE": "0"}
HOST_1 = {**ENVIRONMENT, "module_id": 1}
HOST_2 = {**ENVIRONMENT, "module_id": 2}


def side(first=0, *, runs=5, **changes):
    options = {"sd": 0.003, "scores": LARGE, "seed": first, **changes}
    return [r for i in range(runs) for r in make_run(first + i, **options)]


def test_equal_releases_pass():
    """Nothing differs but the software: PASS, attributed to the release."""
    found = compare(side(), side(20, environment=NEWER, release="1.25.0"))

    assert (found.verdict, found.exit_code, found.attribution) == ("PASS", 0, "")
    assert (found.name_a, found.name_b) == ("1.24.0", "1.25.0")


def test_a_slower_release_fails():
    """8 % slower: FAIL, with the ratio inside its interval."""
    found = compare(side(), side(20, slowdown=0.08, environment=NEWER))
    cell = found.cells[0]

    assert (found.verdict, found.exit_code) == ("FAIL", 1)
    assert cell.ratio_lower < 0.92 < cell.ratio_upper
    assert cell.p_slower < 0.01
    assert "slower by" in cell.reasons[0]


def test_one_run_each_is_inconclusive():
    """Two single runs differ by something; nothing says by how much runs do."""
    found = compare(side(runs=1), side(20, runs=1, slowdown=0.08))

    assert (found.verdict, found.exit_code) == ("INCONCLUSIVE", 2)
    assert found.cells[0].ratio_lower is None
    assert "run each again" in " ".join(found.cells[0].reasons)


def draw(generator, sd, shape, effects, environment):
    """Stand-ins for records of ``shape`` (runs, cells) with planted log effects."""
    values = 1000 * np.exp(effects + generator.normal(0, sd, shape))
    return [
        [SimpleNamespace(rtfx=float(v), environment=environment) for v in row] for row in values.T
    ]


def test_planted_effects_lie_inside_their_intervals():
    """500 comparisons of 8 cells, two hosts that differ by 20 %: >= 95 % are covered."""
    generator = np.random.default_rng(0)
    covered, alpha = [], (1 - INTERVAL_LEVEL) / 2
    for _ in range(500):
        planted = generator.normal(0, 0.03, 8)
        sides = [
            [
                one + two
                for one, two in zip(
                    draw(generator, 0.01, (3, 8), effect, HOST_1),
                    draw(generator, 0.01, (2, 8), effect + 0.2, HOST_2),
                    strict=True,
                )
            ]
            for effect in (np.zeros(8), planted)
        ]
        effects = stratified_effects(zip(*sides, strict=True))
        low, high = lower_bound(effects, alpha), upper_bound(effects, alpha)
        covered.append((low <= planted) & (planted <= high))
        assert np.all(high - low < 0.1)  # not by being as wide as the difference of the hosts

    assert np.mean(covered) >= 0.95


def test_hosts_are_held_constant():
    """One host is half as fast: with both releases on both, the ratio is the release's alone."""
    a = [*side(environment=HOST_1), *side(10, environment=HOST_2, slowdown=0.5, runs=2)]
    b = [
        *side(20, environment=HOST_1, slowdown=0.05, runs=2),
        *side(30, environment=HOST_2, slowdown=0.525),
    ]
    found = compare(a, b)

    assert found.attribution == ""
    assert found.cells[0].ratio == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("b", "field"),
    [
        pytest.param({**ENVIRONMENT, "module_id": 7}, "module_id", id="another-card"),
        pytest.param({**ENVIRONMENT, "host_class": "small"}, "host_class", id="another-host"),
    ],
)
def test_another_host_or_card_is_not_the_release(b, field):
    """The figures are shown, the verdict is INCONCLUSIVE and the field is named."""
    found = compare(side(), side(20, slowdown=0.2, environment=b))

    assert (found.verdict, found.exit_code) == ("INCONCLUSIVE", 2)
    assert field in found.attribution
    assert found.cells[0].ratio == pytest.approx(0.8, abs=0.01)


def test_one_shared_host_of_two_is_not_enough():
    a = [*side(environment=HOST_1), *side(10, environment=HOST_2)]

    assert "run both releases on both" in compare(a, side(20, environment=HOST_1)).attribution


def test_holm_adjusts_as_by_hand():
    """Sorted p values times the number left, never decreasing, at most 1; unknown ones are 1."""
    adjusted = _holm(np.asarray([0.01, 0.04, 0.03, np.nan]), family=4)

    assert adjusted == pytest.approx([0.04, 0.09, 0.09, 1.0])


def test_a_worse_wer_fails_and_is_listed():
    """One more error in two utterances of three: the interval, and the transcripts."""
    worse = make_scores(words=50, speakers=20, errors=[2] * 100)
    cell = compare(side(), side(20, scores=worse)).cells[0]

    assert cell.verdict == "FAIL"
    assert cell.wer.lower < cell.wer.delta < cell.wer.upper
    assert len(cell.wer.changed) == 100


@pytest.mark.parametrize(
    ("b", "verdict", "said"),
    [
        pytest.param(
            lambda r: [x for x in r if x.cell != CELLS[0]],
            "INCONCLUSIVE",
            "not measured in b",
            id="cell-only-in-a",
        ),
        pytest.param(
            lambda r: [
                replace(x, valid=False, invalid_reasons=("parity",)) if x.cell == CELLS[0] else x
                for x in r
            ],
            "FAIL",
            "b: the run was not valid: parity",
            id="invalid-in-b",
        ),
        pytest.param(
            lambda r: [replace(x, limit=3) if x.cell == CELLS[0] else x for x in r],
            "INCONCLUSIVE",
            "changed parameter limit",
            id="other-parameters",
        ),
    ],
)
def test_a_cell_that_cannot_be_compared_says_why(b, verdict, said):
    """It is never a PASS, and the other cells are judged all the same."""
    found = compare(side(), b(side(20)))
    cell = next(c for c in found.cells if c.cell == CELLS[0])

    assert cell.verdict == verdict
    assert said in cell.reasons[0]
    assert [c.verdict for c in found.cells if c.cell != CELLS[0]] == ["PASS", "PASS"]


def test_sides_without_a_common_cell_are_unusable():
    """Nothing to compare is exit code 3, an empty side an error."""
    other = [make_record(cell="large-float32-test_clean-nographs-exact", run=i) for i in (20, 21)]

    assert compare(side(), other).exit_code == 3
    with pytest.raises(ConfigError, match="at least one run"):
        compare(side(), [])


def test_the_difference_of_fingerprints_marks_what_matters():
    """The flipped default stands first, with its reason; other fields follow unmarked."""
    rows = difference(ENVIRONMENT, {**NEWER, "python": "3.12.1"})

    assert [r.field for r in rows] == ["PT_HPU_LAZY_MODE", "synapse_build", "torch", "python"]
    assert "lazy or eager" in rows[0].matters
    assert rows[-1].matters == ""
    assert len(difference(ENVIRONMENT, NEWER, equal=True)) == len(ENVIRONMENT)


def test_a_field_that_only_one_side_has_differs():
    (row,) = difference({}, {"PT_HPU_LAZY_MODE": "1"})

    assert (row.a, row.b) == ("(not set)", "1")


def slow_comparison():
    return compare(side(), side(20, slowdown=0.08, environment=NEWER), names=("old", "new"))


def test_the_terminal_form_says_verdict_cells_and_fields():
    """Summary first, then the table, then the fields with their marks."""
    text = render_text(slow_comparison())

    assert text.splitlines()[0] == "new against old: FAIL (3 FAIL)"
    assert all(cell in text for cell in CELLS)
    assert "PT_HPU_LAZY_MODE: 1 | 0  <- matters: lazy or eager" in text


def test_csv_and_json_hold_raw_figures():
    """One row a cell, parsed back to the numbers."""
    found = slow_comparison()
    (first, *_) = csv.DictReader(io.StringIO(render_csv(found)))
    data = json.loads(json.dumps(to_json(found), allow_nan=False))

    assert float(first["ratio"]) == csv_rows(found)[0]["ratio"]
    assert first["peak_memory_bytes_a"] == "2000000000"
    assert data["cells"][0]["ratio"] == found.cells[0].ratio
    assert (data["verdict"], data["exit_code"]) == ("FAIL", 1)


def test_markdown_is_bounded_and_worst_first():
    """1,000 cells with long reasons stay under 60 kB; the failing cell is among the first."""
    found = slow_comparison()
    good = replace(found.cells[0], verdict="PASS", reasons=("x" * 500,))
    many = replace(found, cells=(found.cells[0], *[good] * 1000))
    text = render_markdown(many)

    assert len(text.encode()) <= 60_000
    assert "| FAIL |" in text.splitlines()[4]
    assert "lines left out" in text


def test_hostile_text_does_not_break_the_table():
    """Pipes, line ends and markup in names stay inside their cell."""
    found = slow_comparison()
    bad = replace(found.cells[0], cell="a|b\n<script>*", reasons=("r\n# head",))
    text = render_markdown(replace(found, cells=(bad,)))

    assert "a\\|b \\<script\\>\\*" in text
    assert "\n# head" not in text


def test_sides_are_named_on_the_command_line(tmp_path):
    """A directory of runs, a single run, and a release of the history."""
    old, new = side(runs=3), side(20, runs=3, release="1.25.0", slowdown=0.08)
    for i in range(3):
        write_run(tmp_path / "1.24" / str(i), old[3 * i : 3 * i + 3])
    with History(tmp_path / "h.sqlite") as history:
        history.append(new)
    found = compare_sides([str(tmp_path / "1.24"), "release:1.25.0"], history=tmp_path / "h.sqlite")
    single = compare_sides(
        [str(tmp_path / "1.24" / "0"), str(tmp_path / "1.24" / "1" / "run.json")]
    )

    assert found.exit_code == 1
    assert found.cells[0].runs_a == 3
    assert single.exit_code == 2


@pytest.mark.parametrize(
    ("sides", "error", "said"),
    [
        pytest.param(["a"], ConfigError, "two or more", id="one-side"),
        pytest.param(["a", "a"], ConfigError, "different", id="the-same-twice"),
        pytest.param(["/nowhere/a", "/nowhere/b"], RecordError, "no such run", id="no-such-run"),
        pytest.param(["release:1", "release:2"], RecordError, "needs a history", id="no-history"),
    ],
)
def test_sides_that_are_none_are_refused(sides, error, said):
    """The error names the side and what may stand in its place."""
    with pytest.raises(error, match=said):
        compare_sides(sides)


def test_a_release_that_the_history_does_not_know_names_those_it_does(tmp_path):
    """The nearest help is the list."""
    with History(tmp_path / "h.sqlite") as history:
        history.append(make_run(0))
    with pytest.raises(RecordError, match=r"1\.24\.0"):
        compare_sides(["release:9", "release:8"], history=tmp_path / "h.sqlite")

"""Exports: what another tool reads from them is what the record says."""

import json
import re
from dataclasses import replace

import jiwer
import pytest

from tests.helpers.pages import verdict_of
from tests.helpers.records import CELLS, make_record, make_run, make_scores
from w2v_core.cli import main
from w2v_core.errors import ReportError
from w2v_core.report.exports import leaderboard, openmetrics, trn
from w2v_core.report.files import write_run
from w2v_core.verdict.run import Run

# Exposition format 0.0.4, one sample: name, labels with escapes, a number, and no timestamp.
SAMPLE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)'
)


def samples(text):
    """Parse lines that are no comment, as a text-format parser does: value by (name, labels)."""
    parsed = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = SAMPLE.fullmatch(line).groups()
            assert (name, labels) not in parsed
            parsed[name, labels] = float(value)
    return parsed


@pytest.fixture(scope="module")
def night():
    return Run(records=make_run(0))


def test_the_leaderboard_computes_the_cells_wer_and_rtfx(night):
    """Corpus WER of text against pred_text; RTFx as its sum of durations over that of times."""
    for record, text in zip(night.records, leaderboard(night).values(), strict=True):
        rows = [json.loads(line) for line in text.splitlines()]

        wer = jiwer.wer([row["text"] for row in rows], [row["pred_text"] for row in rows])
        assert wer == pytest.approx(record.wer)
        rtfx = sum(row["duration"] for row in rows) / sum(row["time"] for row in rows)
        assert rtfx == pytest.approx(record.rtfx, rel=1e-3)


def test_a_manifest_has_the_leaderboards_fields_and_name(night):
    name, text = next(iter(leaderboard(night).items()))

    assert name == "MODEL_w2v-base-bfloat16-graphs-exact_DATASET_librispeech_test.clean.jsonl"
    assert set(json.loads(text.splitlines()[0])) == {
        "audio_filepath",
        "duration",
        "time",
        "text",
        "pred_text",
    }


def test_every_cell_has_a_manifest_of_its_own():
    cells = [f"base-{d}-test_clean-{g}-{f}" for d in "ab" for g in ("graphs", "x") for f in "cd"]

    assert len(leaderboard(Run(records=make_run(0, cells=cells)))) == len(cells)


def test_a_cell_that_was_not_timed_claims_no_time():
    (text,) = leaderboard(Run(records=(make_record(rounds_s=()),))).values()

    assert {json.loads(line)["time"] for line in text.splitlines()} == {None}


def test_sclite_reads_the_words_and_the_utterance(night):
    """``-i rm``: the words, then the id in parentheses; both sides hold the same ids in order."""
    files = trn(night)
    record = night.records[0]
    sides = [
        [re.fullmatch(r"(.*?) ?\(([^()\s]+)\)", line).groups() for line in text.splitlines()]
        for text in (files[f"{record.cell}.ref.trn"], files[f"{record.cell}.hyp.trn"])
    ]

    assert [i for _, i in sides[0]] == [i for _, i in sides[1]]
    assert [i for _, i in sides[0]] == [s.utterance_id for s in record.scores]
    words = [[text for text, _ in side] for side in sides]
    assert jiwer.wer(*words) == pytest.approx(record.wer)


def test_a_transcript_of_no_words_is_the_id_alone():
    scores = (replace(make_scores()[0], hypothesis=""),)

    files = trn(Run(records=(make_record(scores=scores),)))
    assert files[f"{make_record().cell}.hyp.trn"] == "(utt-0000)\n"


@pytest.mark.parametrize("text", ["A {B / C}", "(UH) YES", "@", "; A"])
def test_what_sclite_would_take_for_its_syntax_is_refused_by_name(text):
    scores = (replace(make_scores()[0], hypothesis=text),)

    with pytest.raises(ReportError, match=r"utt-0000.*leaderboard"):
        trn(Run(records=(make_record(scores=scores),)))


def test_ids_stay_apart_and_within_their_parentheses():
    names = ["a b", "a_b", "a(b", "a%20b", "a\nb"]
    scores = tuple(replace(make_scores()[0], utterance_id=name) for name in names)

    lines = trn(Run(records=(make_record(scores=scores),)))[f"{make_record().cell}.ref.trn"]
    ids = re.findall(r"\(([A-Za-z0-9%._~-]+)\)$", lines, re.MULTILINE)
    assert len(lines.splitlines()) == len(names) == len(set(ids))


def test_metrics_hold_the_raw_figures_of_every_cell(night):
    (text,) = openmetrics(night).values()
    values = samples(text)

    for record in night.records:
        mine = {
            n: v for (n, labels), v in values.items() if f'cell="{record.cell}"' in (labels or "")
        }
        assert mine["w2v_rtfx"] == record.rtfx
        assert mine["w2v_wer_ratio"] == record.wer
        assert mine["w2v_latency_p99_seconds"] == record.latency_s["p99"]
        assert mine["w2v_valid"] == 1
        assert "w2v_energy_joules" not in mine


def test_the_metrics_keep_the_rules_of_both_formats(night):
    """OpenMetrics wants units at the end of names, one block a family and an end mark."""
    (text,) = openmetrics(night).values()
    lines = text.splitlines()

    assert text.endswith("# EOF\n")
    for metric, unit in re.findall(r"^# UNIT (\S+) (\S+)$", text, re.MULTILINE):
        assert metric.endswith(f"_{unit}")
    families = re.findall(r"^# TYPE (\S+) gauge$", text, re.MULTILINE)
    assert len(families) == len(set(families))
    reserved = ("_total", "_count", "_sum", "_bucket", "_created", "_info")
    assert [f for f in families if f.endswith(reserved)] == []
    order = [SAMPLE.fullmatch(x)[1] for x in lines if not x.startswith("#")]
    assert list(dict.fromkeys(order)) == families
    assert order == sorted(order, key=families.index)  # a family's samples stand together


@pytest.mark.parametrize("verdict", ["PASS", "FAIL", "INCONCLUSIVE"])
def test_the_verdict_is_a_metric(night, verdict):
    judged = replace(night, verdict=verdict_of(dict.fromkeys(CELLS, verdict)))

    (text,) = openmetrics(judged).values()
    assert text.count(f'verdict="{verdict}"}} 1') == len(CELLS)


@pytest.mark.parametrize("text", ['a"b', "a\\b", "a\nb", "\x1b[2J", "W" * 9999, "\udcff"])
def test_hostile_names_stay_within_their_label(text):
    record = replace(make_record(), cell=text, release=text, model=text)

    (metrics,) = openmetrics(Run(records=(record,))).values()
    assert len(samples(metrics)) > 10
    assert len(max(metrics.splitlines(), key=len)) < 1500


def test_a_cell_that_was_measured_twice_is_one_series():
    (text,) = openmetrics(Run(records=(make_record(), make_record(rtfx=5.0)))).values()

    assert [v for (name, _), v in samples(text).items() if name == "w2v_rtfx"] == [
        make_record(rtfx=5.0).rtfx
    ]


@pytest.mark.parametrize("kind", ["leaderboard", "trn", "openmetrics"])
def test_the_command_writes_the_files_and_prints_their_paths(tmp_path, night, kind, capsys):
    run, exports = tmp_path / "run", tmp_path / kind
    run.mkdir()
    write_run(run, night)

    assert main(["report", str(run), "--export", kind, "-o", str(exports)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert sorted(printed) == sorted(str(p) for p in exports.iterdir())
    assert printed

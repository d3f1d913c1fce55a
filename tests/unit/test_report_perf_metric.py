"""perf_metric.csv: the vendor's columns, each row about one utterance and no other."""

import csv
import io
from dataclasses import replace

import pytest
import torch

from tests.helpers.engines import make_engine, make_utterance
from tests.helpers.records import CELLS, make_record, make_scores
from w2v_core.bench.cell_record import Provenance
from w2v_core.bench.measure import measure_cell
from w2v_core.bench.rounds import Round
from w2v_core.config import BatchPlan
from w2v_core.data.catalog import Corpus, parse_dataset
from w2v_core.records.cell import form_cells
from w2v_core.report.perf_metric import COLUMNS, perf_metric

PLAN = BatchPlan(kind="optimal", num_buckets=2, batch_size=2)
LENGTHS = {"7-1-0": 4_000, "7-1-1": 8_000, "7-1-2": 5_000}


def make_timed(*latencies):
    scores = make_scores(utterances=len(latencies))
    return tuple(
        replace(s, latency_s=latency, audio_s=1.0 + i)
        for i, (s, latency) in enumerate(zip(scores, latencies, strict=True))
    )


def measure_with_latencies(rounds):
    """Measure three utterances whose rounds report the given latencies by id."""
    torch.set_num_threads(1)
    utterances = tuple(make_utterance(i, n, reference="A WORD") for i, n in LENGTHS.items())

    def timer(run):
        timed = []
        for latencies in rounds:
            done = run()
            hypotheses = tuple(
                replace(h, latency_s=latencies[h.utterance_id]) for h in done.hypotheses
            )
            timed.append(Round(transcription=replace(done, hypotheses=hypotheses), wall_s=1.0))
        return timed

    (cell,) = form_cells(
        models=[("tiny", "tiny")],
        dtypes=["float32"],
        datasets=[("librispeech:.", "here")],
        graphs=[False],
        forwards=["exact"],
        plan=PLAN,
    )
    spec = parse_dataset("librispeech:.")
    return measure_cell(
        make_engine(plan=PLAN),
        Corpus(spec=spec, utterances=utterances, expected=tuple(LENGTHS)),
        cell,
        timer=timer,
        provenance=Provenance(
            run_id="night",
            created_utc="2026-01-01T00:00:00Z",
            release="dev",
            command="",
            environment={},
        ),
    )


def test_the_columns_are_the_vendors_in_their_order():
    text = perf_metric([make_record()]).to_csv(index=False)

    assert next(csv.reader(io.StringIO(text)))[:6] == [
        "Sample Length(tokens)",
        "Tokenize(ms)",
        "Compute(ms)",
        "Decode(ms)",
        "End-to-End(ms)",
        "ThroughPut(ms/10k_tokens)",
    ]


def test_a_measured_row_carries_its_own_length_and_its_median_latency():
    rounds = [
        {"7-1-0": 0.1, "7-1-1": 0.2, "7-1-2": 0.3},
        {"7-1-0": 0.9, "7-1-1": 0.8, "7-1-2": 0.7},
        {"7-1-0": 0.2, "7-1-1": 0.3, "7-1-2": 0.4},
    ]
    table = perf_metric([measure_with_latencies(rounds)]).set_index("utterance_id")

    assert table["Sample Length(tokens)"].to_dict() == LENGTHS
    assert table["End-to-End(ms)"].to_dict() == pytest.approx(
        {"7-1-0": 200.0, "7-1-1": 300.0, "7-1-2": 400.0}
    )


def test_the_stages_of_a_row_add_up_to_its_end_to_end_time():
    table = perf_metric([make_record(scores=make_timed(0.5, 0.7, 0.9))])

    stages = table["Tokenize(ms)"] + table["Compute(ms)"] + table["Decode(ms)"]
    assert stages.tolist() == pytest.approx([500.0, 700.0, 900.0])
    assert (table["Compute(ms)"] > 0).all()


def test_host_stages_are_shared_by_audio():
    record = make_record(
        scores=make_timed(0.5, 0.7, 0.9), audio_s=6.0, stage_s={"stage": 0.06, "decode": 0.12}
    )
    table = perf_metric([record])

    assert table["Tokenize(ms)"].tolist() == pytest.approx([10.0, 20.0, 30.0])
    assert table["Decode(ms)"].tolist() == pytest.approx([20.0, 40.0, 60.0])


def test_throughput_is_milliseconds_per_ten_thousand_tokens():
    (row,) = perf_metric([make_record(scores=make_timed(0.5))]).to_dict("records")

    assert row["ThroughPut(ms/10k_tokens)"] == pytest.approx(500.0 / 16_000 * 10_000)


def test_an_utterance_that_no_round_transcribed_has_no_times():
    (row,) = perf_metric([make_record(scores=make_timed(None))]).to_dict("records")

    assert all(row[name] is None for name in COLUMNS[1:6])
    assert row["Sample Length(tokens)"] == 16_000


def test_every_cell_has_its_rows():
    table = perf_metric([make_record(cell=c) for c in CELLS])

    assert table.groupby("cell").size().to_dict() == dict.fromkeys(CELLS, 12)

"""A soak's passes: written one by one, read after a kill, judged, and gone on with."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from w2v_core.errors import RecordError
from w2v_core.fleet.cards import Card
from w2v_core.fleet.frames import Disagreement
from w2v_core.fleet.job import Soak
from w2v_core.fleet.passes import PASSES, CellPass, Pass, append_pass, drop_cut_off, read_passes
from w2v_core.fleet.process import Outcome
from w2v_core.fleet.soak import Soaked
from w2v_core.fleet.soak_report import Asked, write_soak
from w2v_core.fleet.soak_verdict import CardSoak, judge_soak
from w2v_core.fleet.soaking import soak
from w2v_core.fleet.ways import Fleet, measure_again
from w2v_core.fleet.weights import WeightDifference, Weights

CELL = "canary_base-float32-canary_speech-nographs-exact"


def a_pass(number, *, process="p1", wrong=(), levels=None, **of_cell):
    cell = CellPass(cell=CELL, wall_s=1.0, audio_s=500.0, wrong=wrong, num_wrong=len(wrong))
    return Pass(
        number=number,
        process=process,
        at_utc=f"2026-11-26T06:00:{number % 60:02d}Z",
        wall_s=1.0,
        batches=10 * number,
        levels={"host_bytes": 10**8, "descriptors": 5, "threads": 2, **(levels or {})},
        cells=(replace(cell, **of_cell),),
    )


def flipped(card="cpu 0"):
    return Disagreement(card=card, utterance_id="b", frame=7, own=5, others=4, num_frames=1)


def card_of(name, passes, ids=(1, 2, 3), **more):
    frames = {CELL: {"b": np.array(ids, np.int32)}}
    return CardSoak(**{"card": name, "passes": tuple(passes), "frames": frames, **more})


def verdicts(*cards):
    judged, _ = judge_soak(cards)
    return {(c.card, c.cell): c.verdict for c in judged}


def test_a_pass_is_a_line_and_what_a_kill_left_of_one_is_dropped(tmp_path):
    path = tmp_path / PASSES
    one, two = a_pass(1, wrong=(flipped(),)), a_pass(2)
    append_pass(path, one)
    append_pass(path, two)
    with path.open("ab") as file:
        file.write(json.dumps(asdict(a_pass(3))).encode()[:-20])

    assert read_passes(path) == [one, two]
    drop_cut_off(path)
    append_pass(path, a_pass(3))
    assert [p.number for p in read_passes(path)] == [1, 2, 3]


@pytest.mark.parametrize("length", [0, 1, 30])
def test_a_first_line_that_was_cut_off_leaves_no_pass(tmp_path, length):
    path = tmp_path / PASSES
    path.write_bytes(json.dumps(asdict(a_pass(1))).encode()[:length])
    drop_cut_off(path)

    assert read_passes(path) == []
    assert path.read_bytes() == b""


@pytest.mark.parametrize("cells", [("other",), (CELL, "other"), ()])
def test_a_soak_of_other_cells_does_not_go_on(tmp_path, cells):
    append_pass(tmp_path / PASSES, a_pass(1))
    run = SimpleNamespace(environment={})

    with pytest.raises(RecordError, match="this soak differ in"):
        soak(run, cells, tmp_path, Soak(passes=2), card="cpu 0", tell=print)
    assert [p.number for p in read_passes(tmp_path / PASSES)] == [1]


@pytest.mark.parametrize("numbers", [(1, 3), (1, 2, 2), (2, 3)])
def test_passes_that_are_missing_or_there_twice_are_no_soak_to_go_on_with(tmp_path, numbers):
    for number in numbers:
        append_pass(tmp_path / PASSES, a_pass(number))

    with pytest.raises(RecordError, match="passes are missing, or there twice"):
        read_passes(tmp_path / PASSES)


def test_a_whole_line_that_is_no_pass_is_named(tmp_path):
    path = tmp_path / PASSES
    append_pass(path, a_pass(1))
    with path.open("ab") as file:
        file.write(b'{"number": "two"}\n')

    with pytest.raises(RecordError, match=r"passes.jsonl line 2: number is .two."):
        read_passes(path)


def test_equal_passes_are_clean():
    assert {v.verdict for v in verdicts(card_of("cpu 0", map(a_pass, range(1, 31)))).values()} == {
        "PASS"
    }


def test_a_pass_that_differs_is_located():
    passes = [a_pass(n, wrong=(flipped(),) if n == 17 else ()) for n in range(1, 31)]
    found = verdicts(card_of("cpu 0", passes), card_of("cpu 1", map(a_pass, range(1, 31))))

    assert found["cpu 1", CELL].verdict == "PASS"
    (reason,) = found["cpu 0", CELL].reasons
    assert "1 of 30 passes" in reason
    assert "pass 17 on: b frame 7: id 5, the first pass's 4" in reason


def test_a_card_that_is_wrong_from_the_first_pass_on_is_found_by_the_others():
    passes = list(map(a_pass, range(1, 31)))
    cards = [card_of(f"cpu {n}", passes, ids=(1, 9, 3) if n == 1 else (1, 2, 3)) for n in range(3)]
    found = verdicts(*cards)

    assert [found[f"cpu {n}", CELL].verdict for n in range(3)] == ["PASS", "FAIL", "PASS"]
    assert "b frame 1: id 9, the others' 2" in found["cpu 1", CELL].reasons[0]


def test_two_cards_that_differ_from_the_first_pass_on_have_no_majority():
    passes = list(map(a_pass, range(1, 31)))
    found = verdicts(card_of("cpu 0", passes), card_of("cpu 1", passes, ids=(1, 9, 3)))

    assert found["cpu 0", CELL].verdict == found["cpu 1", CELL].verdict == "INCONCLUSIVE"


def altered(own="ab" * 32, card="cpu 0"):
    return WeightDifference(card=card, tensor="encoder.head.weight", own=own, others="cd" * 32)


def test_a_weight_that_changed_is_named_with_tensor_pass_and_both_digests():
    flip = {"altered": (altered(),), "num_altered": 1}
    passes = [a_pass(n, weights="x" * (n > 16), **(flip if n > 16 else {})) for n in range(1, 31)]
    found = verdicts(card_of("cpu 0", passes), card_of("cpu 1", map(a_pass, range(1, 31))))

    assert found["cpu 1", CELL].verdict == "PASS"
    (reason,) = found["cpu 0", CELL].reasons
    assert "suspect of silent data corruption: behind 14 of 30 passes" in reason
    assert "pass 17 on: encoder.head.weight: SHA-256 abababababababab, should be cdcdcdcd" in reason


@pytest.mark.parametrize(
    ("own", "neighbour", "says"),
    [
        ("cd", "cd", "a fresh process of cpu 0 loads the weights that cpu 1 loads"),
        ("ab", "cd", "a fresh process of cpu 0 loads other weights than cpu 1: encoder.head.w"),
        ("cd", "ef", "cpu 1 itself loads another encoder.head.weight: neither is to be trusted"),
    ],
)
def test_a_suspect_by_its_weights_alone_loads_them_again_beside_a_neighbour(
    tmp_path, own, neighbour, says
):
    flip = {"altered": (altered(),), "num_altered": 1}
    passes = [a_pass(n, weights="x" * (n > 16), **(flip if n > 16 else {})) for n in range(1, 31)]
    judged, _ = judge_soak([card_of("cpu 0", passes), card_of("cpu 1", map(a_pass, range(1, 31)))])
    held = {"cpu 0": own * 32, "cpu 1": neighbour * 32}

    def run(job, card):
        weights = Weights(digests={"encoder.head.weight": held[job.card]}, num_bytes=4)
        folder = Path(job.folder)
        return Outcome(card=job.card, folder=folder, records={}, frames={}, weights={CELL: weights})

    fleet = Fleet(
        cards=tuple(Card(device="cpu", number=n) for n in (0, 1)),
        directory=tmp_path,
        front_end="soak",
        options={},
        command="w2v soak",
        run=run,
        report=lambda _: None,
    )
    (again,) = measure_again(fleet, judged)

    assert (again.card, again.neighbour, again.cell) == ("cpu 0", "cpu 1", CELL)
    assert again.told.startswith(says)


@pytest.mark.parametrize(("cards", "verdict"), [(3, "FAIL"), (2, "INCONCLUSIVE")])
def test_a_card_that_loaded_other_weights_is_named_by_the_others(cards, verdict):
    held = [Weights(digests={"a": "1" if n == 1 else "2"}) for n in range(cards)]
    passes = list(map(a_pass, range(1, 31)))
    found = verdicts(*(card_of(f"cpu {n}", passes, weights={CELL: w}) for n, w in enumerate(held)))

    assert found["cpu 1", CELL].verdict == verdict
    assert "a: SHA-256" in found["cpu 1", CELL].reasons[0]


def test_passes_of_an_older_version_are_read_and_say_nothing_of_weights(tmp_path):
    line = asdict(a_pass(1))
    for name in ("weights", "altered", "num_altered", "digest_s"):
        del line["cells"][0][name]
    (tmp_path / PASSES).write_text(json.dumps(line) + "\n")

    assert read_passes(tmp_path / PASSES) == [a_pass(1)]


@pytest.mark.parametrize(
    ("passes", "says"),
    [
        (
            [a_pass(n, num_failed=int(n == 9), failed=("b in d2h: x",)) for n in range(1, 31)],
            "pass 9: 1",
        ),
        ([a_pass(n, wall_s=1.0 + (n > 20)) for n in range(1, 31)], "at 0.500 of the first"),
        (
            [
                a_pass(n, wall_s=1.0 + (n > 20), temperature_c=60.0 + 30 * (n > 20), power_w=300.0)
                for n in range(1, 31)
            ],
            "60 C before, 90 C then; 300 W before",
        ),
    ],
)
def test_what_else_differs_is_told_with_its_pass(passes, says):
    found = verdicts(card_of("cpu 0", passes))[("cpu 0", CELL)]

    assert found.verdict == "FAIL"
    assert says in found.reasons[0]


@pytest.mark.parametrize("level", ["host_bytes", "descriptors", "threads", "graphs"])
def test_a_level_that_grows_is_named_with_its_slope(level):
    passes = [a_pass(n, levels={level: 100 + 30_000 * n}) for n in range(1, 31)]
    found = verdicts(card_of("cpu 0", passes))["cpu 0", "process"]

    assert found.verdict == "FAIL"
    assert f"{level} grows by 3000" in found.reasons[0]


def test_a_growth_that_starts_anew_with_each_process_is_judged_within_it():
    """What was lost with a process is no level of the next one."""
    passes = [
        a_pass(n, process=f"p{n // 20}", levels={"host_bytes": 10**8 * (1 + n // 20)})
        for n in range(1, 220)
    ]

    assert verdicts(card_of("cpu 0", passes))["cpu 0", "process"].verdict == "PASS"


@pytest.mark.parametrize(("count", "what"), [(19, "process"), (1, CELL)])
def test_too_few_passes_say_nothing(count, what):
    found = verdicts(card_of("cpu 0", map(a_pass, range(1, count + 1))))

    assert found["cpu 0", what].verdict == "INCONCLUSIVE"


def test_a_level_that_the_last_process_does_not_tell_keeps_its_last_value(tmp_path):
    """Another C library, or a version of ours that measures less."""
    passes = [*map(a_pass, range(1, 31)), replace(a_pass(31, process="p2"), levels={"threads": 2})]
    card = card_of("cpu 0", passes, software="{}", device="cpu")
    judged, slopes = judge_soak([card])
    run = Soaked(cards=(card,), judged=judged, slopes=slopes, again=(), interrupted=False)
    (directory := tmp_path / "dev" / "run").mkdir(parents=True)
    found, _ = write_soak(directory, Asked(options={}, passes=31, cards=("cpu 0",)), run)

    assert found["cards"][0]["levels"]["descriptors"]["last"] == 5


def test_a_process_that_was_lost_is_told():
    card = card_of("cpu 0", map(a_pass, range(1, 31)), problems=("was killed by SIGSEGV",))

    assert "its process was killed by SIGSEGV" in verdicts(card)["cpu 0", "process"].reasons[0]

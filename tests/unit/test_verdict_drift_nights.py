"""Drift over a history's nights: cards, fresh runs, the machine, and who answers for an alarm."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from tests.helpers.records import CELLS, ENVIRONMENT, START, make_run, write_run
from w2v_core.cli import main
from w2v_core.records.fingerprint import key as fingerprint_key
from w2v_core.records.history import History
from w2v_core.records.history_table import Night
from w2v_core.records.store import StoredRun
from w2v_core.verdict.approve import approve
from w2v_core.verdict.approving import acknowledge, approve_runs
from w2v_core.verdict.baseline import load_baseline
from w2v_core.verdict.cusum import MOST_FRESH, steps
from w2v_core.verdict.drift import (
    judge_drift,
    judge_machine_drift,
    suspects,
)
from w2v_core.verdict.judge import wanted_cells

EIGHT = tuple(f"m{i}-float32-test_clean-graphs-exact" for i in range(8))


def followed(losses, *, cells=EIGHT, all_cells=False, sd=0.003):
    """Return the drifts of nights that lose in the first cell, or in all, and the machine's."""
    runs = [make_run(i, cells=cells, sd=sd) for i in range(8)]
    known = approve([StoredRun(source=str(i), records=run) for i, run in enumerate(runs)])
    series = {}
    for i, loss in enumerate(losses):
        plain = make_run(10 + i, cells=cells, sd=sd)
        slow = make_run(10 + i, cells=cells, sd=sd, slowdown=loss)
        for j, cell in enumerate(cells):
            record = slow[j] if all_cells or j == 0 else plain[j]
            series.setdefault(cell, []).append(Night.of(record))
    return judge_drift(series, known), judge_machine_drift(series, known)


@pytest.mark.parametrize("back", [0, 4])
def test_an_alarm_ends_when_the_level_is_back(back):
    """A step of 4 % for ten nights alarms; four nights after it was reverted nothing is red."""
    drifts, _ = followed([0.04] * 10 + [0.0] * back)

    assert (drifts[EIGHT[0]].alarm_night is not None) == (back == 0)


def test_one_bad_night_leaves_no_red_nights_behind():
    """-8 % on one night: the nights after it are not red for it."""
    assert not any(
        followed([0.0] * 3 + [0.08] + [0.0] * n)[0][EIGHT[0]].alarm_night for n in (1, 5)
    )


def test_a_loss_against_a_level_that_was_reached_is_one():
    """+6 % for eight nights, then -4 % against it: still faster than the baseline, and red."""
    drifts, _ = followed([-0.06] * 8 + [-0.0176] * 5)

    assert drifts[EIGHT[0]].alarm_night is not None
    assert drifts[EIGHT[0]].loss == pytest.approx(0.04, abs=0.01)


def test_what_all_cells_lose_is_the_machines_drift():
    """-2 % in all cells: no cell alarms, the machine does."""
    drifts, machine = followed([0.02] * 8, all_cells=True)

    assert not any(d.alarm_night for d in drifts.values())
    assert machine.loss == pytest.approx(0.02, abs=0.005)


def test_runs_of_one_night_count_once():
    """Ten runs within an hour are one night, by their median."""
    night = Night.of(make_run(10, cells=EIGHT, slowdown=0.02)[0])
    runs = [night._replace(run_id=f"{night.run_id}-{i}") for i in range(10)]
    known = approve([StoredRun(source=str(i), records=make_run(i, cells=EIGHT)) for i in range(6)])
    found = judge_drift({EIGHT[0]: runs}, known)

    assert len(found[EIGHT[0]].statistic) == 1


def test_a_night_of_fresh_runs_counts_for_what_it_says():
    """Four fresh runs of a loss beyond the slack add more than one run, of none take more away."""
    scores = np.asarray([2.0, 0.0])
    one, four = (steps(scores, n, 8, slack=1.5) for n in (1, 4))

    assert four[0] > 2 * one[0] > 0
    assert four[1] < 2 * one[1] < 0


def tonight(loss, fresh_loss=None, fresh=0, night=12):
    """Return the history of eight cells that end with a night, and fresh runs of it, and more."""
    runs = [make_run(i, cells=EIGHT, sd=0.003) for i in range(8)]
    known = approve([StoredRun(source=str(i), records=run) for i, run in enumerate(runs)])
    series = {c: [] for c in EIGHT}
    for number, lost in ((10, 0.0), (11, 0.0), (night, loss)):
        for j, cell in enumerate(EIGHT):
            run = make_run(number, cells=EIGHT, sd=0.003, slowdown=lost if j == 0 else 0.0)
            series[cell].append(Night.of(run[j]))
    for number in range(fresh):
        for j, cell in enumerate(EIGHT):
            lost = fresh_loss if j == 0 else 0.0
            made = Night.of(
                make_run(night, cells=EIGHT, sd=0.003, seed=9 + number, slowdown=lost)[j]
            )
            series[cell].append(
                made._replace(
                    run_id=f"{made.run_id}-{number}",
                    created_utc=made.created_utc.replace("T02:20", f"T03:{number:02}"),
                )
            )
    return series, known


def test_a_suspicion_is_measured_again_and_clears_or_grows():
    """-1.3 % on a first run is suspected; fresh runs at the level clear it, -1.3 % again add up."""
    first = tonight(0.013)
    cleared = tonight(0.013, 0.0, 1)
    grown = tonight(0.013, 0.013, MOST_FRESH)

    assert suspects(*first) == (EIGHT[0],)
    assert suspects(*cleared) == ()
    assert suspects(*grown) == ()
    assert judge_drift(*cleared)[EIGHT[0]].statistic[-1] == 0.0
    assert judge_drift(*grown)[EIGHT[0]].statistic[-1] > judge_drift(*first)[EIGHT[0]].statistic[-1]


def test_the_gate_asks_for_what_drift_suspects():
    """A cell that passed for its speed is measured again with its controls, by the same call."""
    series, known = tonight(0.013)
    now = START + timedelta(days=12, hours=1)
    records = [
        make_run(12, cells=EIGHT, sd=0.003, slowdown=0.013 if j == 0 else 0.0)[j]
        for j in range(len(EIGHT))
    ]
    earlier = {cell: nights[:-1] for cell, nights in series.items()}

    assert wanted_cells(records, known, now=now) == ()
    assert EIGHT[0] in wanted_cells(records, known, now=now, history=earlier)


def on(card, nights):
    """Put nights on a card; the runs of module 2 begin a minute after the others."""
    later = "T02:21" if card.endswith("2") else "T02:20"
    return [
        n._replace(
            card=card, run_id=n.run_id + card, created_utc=n.created_utc.replace("T02:20", later)
        )
        for n in nights
    ]


def test_cards_are_told_apart_and_named():
    """Nights of another card neither raise nor hide the alarm of tonight's, which is named."""
    runs = [make_run(i, cells=EIGHT, sd=0.003) for i in range(8)]
    known = approve([StoredRun(source=str(i), records=run) for i, run in enumerate(runs)])
    slow, good = {}, {}
    for i in range(10, 20):
        for j, cell in enumerate(EIGHT):
            plain = Night.of(make_run(i, cells=EIGHT, sd=0.003)[j])
            lost = (
                Night.of(make_run(i, cells=EIGHT, sd=0.003, slowdown=0.03)[j]) if j == 0 else plain
            )
            good.setdefault(cell, []).append(plain)
            slow.setdefault(cell, []).append(lost)
    both = {c: [*on("module 1", slow[c]), *on("module 2", good[c])] for c in EIGHT}
    last = {c: [*on("module 2", good[c][:-1]), *on("module 1", slow[c])] for c in EIGHT}
    found, other = judge_drift(last, known)[EIGHT[0]], judge_drift(both, known)[EIGHT[0]]

    assert (found.card, len(found.statistic)) == ("module 1", 10)
    assert found.alarm_night is not None
    assert (other.card, other.alarm_night) == ("module 2", None)


def history_file(folder, losses):
    """Write a baseline of eight nights and a history in which the first cell loses."""
    paths = [
        write_run(folder / "runs" / str(i), make_run(i, cells=EIGHT, sd=0.003)) for i in range(8)
    ]
    approve_runs(paths, folder / "b.json", now=START + timedelta(days=9))
    with History(folder / "h.sqlite") as history:
        append(history, losses, first=10)
    return folder / "b.json", folder / "h.sqlite"


def append(history, losses, *, first):
    for i, loss in enumerate(losses):
        slow = make_run(first + i, cells=EIGHT, sd=0.003, slowdown=loss)[:1]
        history.append((*slow, *make_run(first + i, cells=EIGHT, sd=0.003)[1:]))


def alarm(baseline, history):
    with History.reading(history) as opened:
        nights = opened.nights(load_baseline(baseline).key)
    return judge_drift(nights, load_baseline(baseline))[EIGHT[0]].alarm_night


@pytest.mark.parametrize(("beyond", "is_red"), [(0.025, False), (0.05, True)])
def test_an_acknowledged_alarm_ends_and_a_further_loss_is_another(beyond, is_red, tmp_path, capsys):
    """-2.5 % for ten nights, acknowledged: quiet at that level, an alarm at -5 %."""
    baseline, history = history_file(tmp_path, [0.025] * 10)
    assert alarm(baseline, history) is not None
    words = ["--baseline", str(baseline), "--history", str(history), "--by", "me"]

    assert main(["baseline", "acknowledge", *words]) == 3
    assert "for a reason; give --reason" in capsys.readouterr().err
    moment = START + timedelta(days=19, hours=5)
    told, _ = acknowledge(
        baseline, history, reason="firmware 7, card 12", acknowledged_by="me", now=moment
    )
    with History(history) as opened:
        append(opened, [beyond] * 8, first=20)

    assert told.losses[EIGHT[0]] == pytest.approx(0.025, abs=0.01)
    assert (alarm(baseline, history) is not None) == is_red


def test_an_acknowledgement_is_shown_and_ends_with_the_next_approval(tmp_path, capsys):
    """It is kept for ever, and holds for the approval that was in force."""
    baseline, history = history_file(tmp_path, [0.025] * 10)
    words = ["--baseline", str(baseline), "--history", str(history)]
    assert main(["baseline", "acknowledge", *words, "--reason", "known", "--by", "me"]) == 0
    assert f"acknowledged: {EIGHT[0]}, held to -2" in capsys.readouterr().out
    known = load_baseline(baseline)
    runs = [
        write_run(tmp_path / f"n{i}", make_run(30 + i, cells=EIGHT, sd=0.003)) for i in range(6)
    ]
    approve_runs(runs, baseline, reason="again")

    assert len(known.acknowledged) == 1
    assert load_baseline(baseline).acknowledged == ()
    assert main(["baseline", "show", "--baseline", str(baseline)]) == 0
    told = capsys.readouterr().out
    assert "drift acknowledged by me (ended by an approval)" in told
    assert "known" in told


def test_without_an_alarm_there_is_nothing_to_acknowledge(tmp_path, capsys):
    baseline, history = history_file(tmp_path, [0.0] * 3)
    words = ["--baseline", str(baseline), "--history", str(history), "--reason", "x"]

    assert main(["baseline", "acknowledge", *words]) == 3
    assert "no drift alarm on its last night" in capsys.readouterr().err


def test_an_improvement_is_told():
    """A level that was reached is named beside the pass, before anything is lost against it."""
    drifts, _ = followed([-0.06] * 8)

    assert drifts[EIGHT[0]].alarm_night is None
    assert drifts[EIGHT[0]].reached == pytest.approx(0.06, abs=0.01)


def test_the_history_knows_each_runs_card(tmp_path):
    """By module and host on a plain host; by its serial where that is known."""
    with History(tmp_path / "h.sqlite") as history:
        history.append(make_run(1))
        serial = {**ENVIRONMENT, "card_uuid": "AB-1", "container": "docker"}
        history.append(make_run(2, environment=serial))
        nights = history.nights(fingerprint_key(ENVIRONMENT))

    assert [n.card for n in nights[CELLS[0]]] == ["host gaudi-1, module_id 3", "card AB-1"]

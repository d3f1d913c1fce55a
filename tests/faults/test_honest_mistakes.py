"""What an honest engineer does by mistake, and the gate calls by its name."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.helpers.mutants import Tonight, scaled
from tests.helpers.records import CELLS, ENVIRONMENT, START, make_run, write_run
from w2v_core.cli import main
from w2v_core.errors import RecordError
from w2v_core.verdict.approving import approve_runs
from w2v_core.verdict.baseline import baseline_file, load_baseline
from w2v_core.verdict.commands import gate_runs

TONIGHT = Tonight(night=10)
GOOD = TONIGHT.good
NOW = TONIGHT.starts + timedelta(hours=3)


@pytest.fixture(scope="module")
def approved_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("approved")
    runs = [write_run(folder / f"old-{i}", run) for i, run in enumerate(TONIGHT.baseline)]
    approve_runs(runs, folder / "baselines", now=START + timedelta(days=6))
    return folder / "baselines"


@pytest.fixture
def approved(approved_once, tmp_path):
    return shutil.copytree(approved_once, tmp_path / "baselines")


def elsewhere(**fields):
    return tuple(replace(r, environment={**ENVIRONMENT, **fields}) for r in GOOD)


def store(folder, records):
    """Write a run where a nightly job does, under its own name."""
    return write_run(folder / "1.24.0" / records[0].run_id, records)


def waive(approved, **fields):
    values = {
        "cell": "*",
        "kind": "throughput",
        "owner": "Ada",
        "reason": "known driver bug",
        "until": f"{NOW + timedelta(days=7):%Y-%m-%d}",
        **fields,
    }
    (approved / "waivers.json").write_text(json.dumps({"waivers": [values]}))


def slow(factor=1.11):
    return tuple(scaled(r, factor) for r in GOOD)


@pytest.mark.parametrize("option", ["--baseline=", "--baseline= ", "--history="])
def test_an_empty_path_is_refused(tmp_path, option, capsys):
    """A path from a variable that is not set judges nothing, and must not pass for judged."""
    arguments = ["gate", str(store(tmp_path, GOOD)), option]
    arguments += [] if option.startswith("--baseline") else [f"--baseline={tmp_path}"]

    assert main(arguments) == 3
    assert f"{option.partition('=')[0]} is empty" in capsys.readouterr().err


def test_a_run_is_judged_once(tmp_path, approved):
    """Yesterday's run, judged again because tonight's job died, is red and says when."""
    run = store(tmp_path, GOOD)
    first = gate_runs([run], approved, now=NOW, once=True)
    second = gate_runs([run], approved, now=NOW + timedelta(hours=20), once=True)

    assert first.verdict != "FAIL"
    assert second.verdict == "FAIL"
    assert "was judged before, at '2026-01-11T05:00:00Z'" in second.findings[0].reason


def test_a_run_can_be_judged_again_by_its_option(tmp_path, approved):
    """--any-age looks at what was judged before."""
    run = store(tmp_path, GOOD)
    gate_runs([run], approved, now=NOW, once=True)

    assert gate_runs([run], approved, now=NOW).verdict != "FAIL"


def test_a_benchmark_json_is_judged_once_too(tmp_path, approved):
    """The file of the next night has other runs in it, and is judged."""
    file = store(tmp_path, GOOD) / "run.json"
    gate_runs([file], approved, now=NOW, once=True)
    again = gate_runs([file], approved, now=NOW, once=True)
    write_run(file.parent, TONIGHT.at(1))
    next_night = gate_runs([file], approved, now=NOW + timedelta(days=1), once=True)

    assert (again.verdict, next_night.verdict == "FAIL") == ("FAIL", False)


def rerun():
    """Make tonight's run again, 40 minutes later."""
    later = TONIGHT.starts + timedelta(minutes=40)
    return tuple(
        replace(
            r,
            run_id=f"{later:%Y%m%dT%H%M%SZ}-hpu-0123456789ab",
            created_utc=f"{later + timedelta(minutes=20):%Y-%m-%dT%H:%M:%SZ}",
            rounds_s=tuple(s * 1.0001 for s in r.rounds_s),
            rtfx=r.rtfx / 1.0001,
        )
        for r in GOOD
    )


def test_the_good_rerun_alone_is_red(tmp_path, approved):
    """A slow run that was judged, and made again until it is fast, is named."""
    bad = store(tmp_path, slow())
    gate_runs([bad], approved, now=NOW, once=True)
    result = gate_runs([store(tmp_path, rerun())], approved, now=NOW)

    assert result.verdict == "FAIL"
    assert f"run {bad.name} of the same night" in result.findings[0].reason
    assert "which was 'FAIL'" in result.findings[0].reason


def test_a_rerun_beside_one_that_nobody_judged_is_red(tmp_path, approved):
    """A run that was never handed in may hide anything."""
    store(tmp_path, slow())
    result = gate_runs([store(tmp_path, rerun())], approved, now=NOW)

    assert (result.verdict, "never judged" in result.findings[0].reason) == ("FAIL", True)


def test_a_rerun_of_other_software_stands_alone(tmp_path, approved):
    """A loss that was mended is no re-run."""
    store(tmp_path, tuple(replace(r, environment={**ENVIRONMENT, "commit": "f"}) for r in slow()))

    assert gate_runs([store(tmp_path, rerun())], approved, now=NOW).verdict != "FAIL"


def test_both_runs_of_a_night_are_judged_together(tmp_path, approved):
    """Handing in all runs hides none."""
    runs = [store(tmp_path, GOOD), store(tmp_path, rerun())]
    result = gate_runs(runs, approved, now=NOW)

    assert not [f for f in result.findings if "left out" in f.reason]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("host", "gaudi-2"),
        ("module_id", 4),
        ("governor", "powersave"),
        ("kernel", "6.9.0"),
        ("cpus_usable", 8),
        ("transformers", "4.56.0"),
        ("PT_HPU_ENABLE_GENERIC_STREAM", "0"),
        ("checkpoint_revision", "main"),
    ],
)
def test_what_changed_stands_in_every_verdict(tmp_path, approved, field, value):
    """What is not the baseline's is told on line 1 and in the JSON."""
    result = gate_runs([store(tmp_path, elsewhere(**{field: value}))], approved, now=NOW)

    assert f"changed since the baseline: {field} " in result.summary()
    assert [c["field"] for c in result.to_json()["changes"]] == [field]


@pytest.mark.parametrize("unread", [("driver",), ("driver", "firmware")])
def test_unknown_is_not_equal_to_unknown(tmp_path, unread):
    """A driver that neither side could read may be another one, and the verdict stays open."""
    hidden = {**ENVIRONMENT, **dict.fromkeys(unread)}
    blind = [tuple(replace(r, environment=hidden) for r in run) for run in TONIGHT.baseline]
    runs = [write_run(tmp_path / f"old-{i}", run) for i, run in enumerate(blind)]
    approve_runs(runs, tmp_path / "b.json", now=START + timedelta(days=6))
    tonight = tuple(replace(r, environment=hidden) for r in GOOD)
    result = gate_runs([store(tmp_path, tonight)], tmp_path / "b.json", now=NOW)

    assert result.exit_code == 2
    assert f"{' and '.join(unread)} could be read neither tonight" in result.findings[0].reason


def test_a_driver_update_names_what_changed(approved):
    """Where no baseline fits, the reason says how the nearest one differs."""
    with pytest.raises(RecordError, match=r"driver '1\.24\.0-abc' -> '1\.25\.0'"):
        load_baseline(approved, {**ENVIRONMENT, "driver": "1.25.0"})


def test_the_nearest_baseline_has_the_fewest_changes(approved):
    """Of several baselines the most alike is named."""
    other = {**ENVIRONMENT, "device_name": "GAUDI3", "driver": "1.22"}
    runs = [
        write_run(approved.parent / f"g3-{i}", make_run(i, environment=other)) for i in range(5)
    ]
    approve_runs(runs, approved, now=NOW)
    nearest = baseline_file(approved, ENVIRONMENT).name

    with pytest.raises(RecordError, match=f"nearest one, {nearest}"):
        load_baseline(approved, {**ENVIRONMENT, "driver": "1.25.0"})


def test_a_baseline_by_another_name_is_named_where_it_fits(approved):
    there = baseline_file(approved, ENVIRONMENT).name

    with pytest.raises(RecordError, match=f"missing baseline by this name; {there} beside it is f"):
        load_baseline(approved / "another.json", ENVIRONMENT)


def test_a_waived_loss_passes_and_is_told(tmp_path, approved):
    """A known red is green while its owner answers for it, and named all the same."""
    waive(approved)
    result = gate_runs([store(tmp_path, slow())], approved, now=NOW)

    assert result.by_kind["throughput"] == "PASS"
    assert "3 waived" in result.summary()
    assert "waived by Ada until 2026-01-18 (known driver bug)" in result.waived[0]


@pytest.mark.parametrize(
    "other",
    [{"kind": "wer"}, {"cell": "tiny-*"}, {"says": "some other reason"}],
)
def test_a_waiver_covers_its_finding_only(tmp_path, approved, other):
    """Another kind, cell or reason stays red."""
    waive(approved, **other)

    assert gate_runs([store(tmp_path, slow())], approved, now=NOW).verdict == "FAIL"


def test_an_expired_waiver_is_red_again(tmp_path, approved):
    """From the day after its end the finding is red, and says whose waiver ended."""
    waive(approved, until=f"{NOW - timedelta(days=1):%Y-%m-%d}")
    result = gate_runs([store(tmp_path, slow())], approved, now=NOW)

    assert result.verdict == "FAIL"
    assert "the waiver of Ada ended on 2026-01-10" in result.reasons[0]


def test_a_waiver_holds_on_its_last_day(tmp_path, approved):
    """The end is the last day, not the first without."""
    waive(approved, until=f"{NOW:%Y-%m-%d}")

    assert gate_runs([store(tmp_path, slow())], approved, now=NOW).by_kind["throughput"] == "PASS"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"owner": " "}, "owner is empty"),
        ({"reason": ""}, "reason is empty"),
        ({"until": "2027-01-01"}, "more than 92 days ahead"),
        ({"until": "soon"}, "until"),
        ({"kind": "speed"}, "kind"),
        ({"kind": "integrity"}, "give says"),
    ],
)
def test_a_bent_waiver_is_unusable(tmp_path, approved, fields, said):
    """A waiver without owner, reason or a near end waives nothing and lets nothing pass."""
    waive(approved, **fields)
    result = gate_runs([store(tmp_path, GOOD)], approved, now=NOW)

    assert result.exit_code == 3
    assert said in result.reasons[0]


def test_a_vanished_cell_can_be_waived_by_name(tmp_path, approved):
    """Integrity is waived where the waiver says which reason."""
    waive(approved, cell=CELLS[0], kind="integrity", says="vanished")
    result = gate_runs([store(tmp_path, GOOD[1:])], approved, now=NOW)

    assert result.cell(CELLS[0]).verdict == "PASS"

"""w2v doctor: says what would make measurements unreliable, and fails only for a missing device."""

import json
import time
from dataclasses import replace

import pytest

from w2v_core.backends.base import GraphSupport
from w2v_core.cli import main
from w2v_core.commands import machine
from w2v_core.commands.health import (
    GIB,
    MAX_SWAP_BYTES,
    MIN_DISK_BYTES,
    MIN_MEMORY_BYTES,
    diagnose,
)
from w2v_core.commands.machine import Facts, hub_error
from w2v_core.model.catalog import MODELS
from w2v_core.model.checkpoint_hub import download_command

ABLE, UNABLE = GraphSupport(by="g++"), GraphSupport(unsupported="no g++")
SOUND = Facts(
    choice="auto",
    devices={"hpu": None, "cuda": "no GPU", "cpu": None},
    device_name="GAUDI2",
    is_pinned=True,
    versions={"torch": "2.9.0", "datasets": None},
    hub_error=None,
    cached=("base",),
    not_cached=(),
    memory_available_bytes=100 * GIB,
    disk_free_bytes=100 * GIB,
    governor="performance",
    load_1min=0.5,
    cpus_usable=16,
    cpu_quota=None,
    num_threads=16,
)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr(machine, "_ask", lambda endpoint, *, wait_s: "no network in tests")


def states(facts):
    return {check.name: check.state for check in diagnose(facts)}


def test_nothing_speaks_against_a_sound_machine():
    assert set(states(SOUND).values()) == {"ok", "note"}


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        pytest.param(
            "memory",
            {"memory_available_bytes": MIN_MEMORY_BYTES},
            {"memory_available_bytes": MIN_MEMORY_BYTES - 1},
            id="memory",
        ),
        pytest.param(
            "disk",
            {"disk_free_bytes": MIN_DISK_BYTES},
            {"disk_free_bytes": MIN_DISK_BYTES - 1},
            id="disk",
        ),
        pytest.param("governor", {"governor": "performance"}, {"governor": "powersave"}, id="gov"),
        pytest.param("load", {"load_1min": 4.0}, {"load_1min": 4.1}, id="load"),
        pytest.param(
            "swap", {"swap_used_bytes": MAX_SWAP_BYTES}, {"swap_used_bytes": MAX_SWAP_BYTES + 1}
        ),
        pytest.param(
            "processes", {"busiest": (("a", 0.09),)}, {"busiest": (("a", 0.11),)}, id="processes"
        ),
        pytest.param("steal", {"steal": 0.01}, {"steal": 0.011}, id="steal"),
        pytest.param(
            "processors", {"cpus_usable": 2}, {"cpus_usable": 1, "num_threads": 1}, id="one-core"
        ),
        pytest.param("processors", {"cpu_quota": 16.0}, {"cpu_quota": 15.5}, id="quota"),
        pytest.param("threads", {"num_threads": 16}, {"num_threads": 17}, id="threads"),
        pytest.param("threads", {"cpu_quota": 16.0}, {"cpu_quota": 15.5}, id="container"),
        pytest.param("pinned memory", {"is_pinned": True}, {"is_pinned": False}, id="pinned"),
    ],
)
def test_what_makes_measurements_unreliable_is_doubted_with_a_remedy(name, good, bad):
    assert states(replace(SOUND, **good))[name] == "ok"
    (check,) = [c for c in diagnose(replace(SOUND, **bad)) if c.name == name]
    assert check.state == "doubt"
    assert check.remedy


@pytest.mark.parametrize("name", ["memory_available_bytes", "disk_free_bytes", "governor"])
def test_what_the_system_does_not_tell_is_a_note(name):
    checks = diagnose(replace(SOUND, **{name: None}))

    assert [c.state for c in checks if c.name == name.split("_")[0]] == ["note"]


def test_a_clock_that_rises_is_worth_knowing():
    assert states(replace(SOUND, turbo=True))["turbo"] == "note"
    assert states(replace(SOUND, turbo=False))["turbo"] == "ok"


def test_the_busiest_processes_are_named_and_the_rest_counted():
    busy = tuple((f"job{i}", 1.0 - i / 10) for i in range(5))
    (check,) = [c for c in diagnose(replace(SOUND, busiest=busy)) if c.name == "processes"]

    assert "job0 (100%), job1 (90%), job2 (80%) and 2 more" in check.text


def test_all_that_the_search_for_a_gaudi_saw_is_shown():
    probed = replace(SOUND, hpu_probe=("driver: 1.24.0", "plugin: refused this torch"))
    (check,) = [c for c in diagnose(probed) if c.name == "hpu probe"]

    assert check.text == "driver: 1.24.0; plugin: refused this torch"


def test_the_devices_own_facts_are_shown_without_settings():
    facts = {"driver": "1.24", "firmware": None, "PT_HPU_LAZY_MODE": "1", "card_power": "90 W"}
    (check,) = [c for c in diagnose(replace(SOUND, device_facts=facts)) if c.name == "device facts"]

    assert check.text == "driver 1.24"


def test_a_hostile_process_name_does_not_steer_the_terminal(capsys, monkeypatch):
    monkeypatch.setattr(machine.proc, "busiest", lambda: (("\x1b[31mx", 1.0),))
    main(["doctor", "--device", "cpu"])

    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\\x1b[31mx (100%)" in printed


def test_no_line_is_wider_than_a_hundred_columns(capsys):
    main(["doctor", "--device", "cpu"])

    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_a_synchronous_device_needs_no_pinned_memory():
    assert "pinned memory" not in states(replace(SOUND, is_pinned=None))


def test_an_unreachable_hub_matters_only_for_what_is_not_cached():
    away = replace(SOUND, hub_error="offline")

    assert states(away)["hub"] == "ok"
    assert states(replace(away, not_cached=("large",)))["hub"] == "note"


def test_the_remedy_for_what_is_not_cached_is_the_commands_that_fetch_it(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    _, absent, commands = machine._cached()
    facts = replace(SOUND, hub_error="offline", not_cached=absent, fetched_by=commands)
    (remedy,) = [check.remedy for check in diagnose(facts) if check.name == "hub"]

    for spec in (MODELS["base"], MODELS["large"]):
        assert download_command(spec) in remedy
    assert "hf download openslr/librispeech_asr --repo-type dataset" in remedy


@pytest.mark.parametrize(
    ("graphs", "told"),
    [
        ({"float32": ABLE, "bfloat16": ABLE}, [("ok", "by g++")]),
        ({"float32": UNABLE, "bfloat16": UNABLE}, [("note", "unsupported: no g++")]),
        (
            {"float32": ABLE, "bfloat16": UNABLE},
            [("ok", "float32: by g++"), ("note", "bfloat16: unsupported: no g++")],
        ),
    ],
    ids=["by-one", "by-none", "by-dtype"],
)
def test_who_captures_graphs_is_said_or_why_none_does(graphs, told):
    checks = [c for c in diagnose(replace(SOUND, graphs=graphs)) if c.name == "graphs"]

    assert [(check.state, check.text) for check in checks] == told


def test_the_missing_device_that_was_asked_for_is_missing_and_others_are_notes():
    facts = replace(SOUND, choice="cuda", device_error="no GPU", device_name=None)

    assert states(facts)["device cuda"] == "missing"
    assert states(replace(SOUND, choice="hpu"))["device cuda"] == "note"


def test_the_hub_is_waited_for_no_longer_than_asked(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(machine, "_ask", lambda endpoint, *, wait_s: time.sleep(30))

    assert hub_error(wait_s=0.05) == "no answer within 0.05 s"


def test_offline_mode_asks_nobody(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(machine, "_ask", lambda endpoint, *, wait_s: pytest.fail("asked"))

    assert hub_error() == "HF_HUB_OFFLINE is set"


def test_this_machine_is_described(capsys):
    assert main(["doctor", "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    for name in ("device cpu", "graphs", "versions", "hub", "memory", "disk", "threads"):
        assert name in text
    assert "\nmeasuring: " in text


def test_a_missing_device_is_the_exit_code(capsys):
    assert main(["doctor", "--device", "hpu"]) == 3
    assert "missing: device hpu" in capsys.readouterr().out


def test_json_carries_every_check(capsys):
    main(["doctor", "--device", "cpu", "--json"])

    checks = json.loads(capsys.readouterr().out)
    assert {"state", "name", "text", "remedy"} == set(checks[0])


def test_an_unknown_device_is_wrong_usage(capsys):
    assert main(["doctor", "--device", "gpu"]) == 2
    assert "unknown device 'gpu'" in capsys.readouterr().err


def test_nothing_is_coloured(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    main(["doctor", "--device", "cpu"])

    assert "\x1b" not in capsys.readouterr().out


def test_help_names_every_flag(capsys):
    with pytest.raises(SystemExit) as end:
        main(["doctor", "--help"])

    assert end.value.code == 0
    assert "--device" in capsys.readouterr().out


def test_emulated_bfloat16_is_a_note_that_its_speed_says_nothing():
    text = "bfloat16 is emulated: no AVX512-BF16"
    (check,) = [c for c in diagnose(replace(SOUND, bfloat16_emulated=text)) if c.name == "bfloat16"]

    assert (check.state, check.text) == ("note", f"on cpu {text}")
    assert states(SOUND)["bfloat16"] == "ok"

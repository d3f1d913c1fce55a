"""Which cards there are, and what pins a process to one, by files as others write them."""

import os
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

from w2v_core.backends.hpu_telemetry import parse_hl_smi
from w2v_core.data.catalog import load, parse_dataset
from w2v_core.errors import ConfigError, DataError, DeviceError
from w2v_core.fleet import cards
from w2v_core.fleet.cards import Card, find_cards, list_cards
from w2v_core.fleet.corpus import read_mapped, write_mapped

MODULES = (0, 4, 1, 5, 2, 6, 3, 7)
SMI = "\n".join(
    f"{i}, 01P{i}, HL-225, 1.24.0, {m}, 0000:{i + 0x19:02x}:00.0, 98304 MiB, 672 MiB, 97632 MiB, "
    "226 W, 600 W, 36 C, 0 %"
    for i, m in enumerate(MODULES)
)


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """Eight Gaudis on two nodes of eight cores, siblings four apart."""
    for name in (*cards.MODULES, cards.GPUS):
        monkeypatch.delenv(name, raising=False)
    for i in range(8):
        device = tmp_path / "pci" / f"0000:{i + 0x19:02x}:00.0"
        device.mkdir(parents=True)
        (device / "numa_node").write_text(f"{i // 4}\n")
    for node in range(2):
        folder = tmp_path / "node" / f"node{node}"
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(
            f"{node * 4}-{node * 4 + 3},{8 + node * 4}-{11 + node * 4}\n"
        )
    for cpu in range(16):
        folder = tmp_path / "cpu" / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 8},{cpu % 8 + 8}\n")
    monkeypatch.setattr(cards, "PCI", tmp_path / "pci")
    monkeypatch.setattr(cards, "NODES", tmp_path / "node")
    monkeypatch.setattr(cards, "CPUS", tmp_path / "cpu")
    monkeypatch.setattr(cards, "query_hl_smi", lambda: parse_hl_smi(SMI))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    return tmp_path


def test_every_gaudi_is_pinned_by_its_module_id_to_cores_of_its_node():
    found = find_cards("hpu", "all")

    assert [c.number for c in found] == list(range(8))
    by_module = {c.number: c for c in found}
    assert by_module[4].pins == {"HABANA_VISIBLE_MODULES": "4", "HLS_MODULE_ID": "4"}
    assert [by_module[m].numa_node for m in MODULES] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert sorted(cpu for c in found for cpu in c.cpus) == list(range(16))
    assert all(b - a == 8 for a, b in (c.cpus for c in found)), "siblings stay together"


@pytest.mark.parametrize(
    ("asked", "numbers"), [("3", [0, 1, 2]), ("0,2,5", [0, 2, 5]), ("6,", [6]), ("8", [*range(8)])]
)
def test_some_cards_are_asked_for_by_count_or_by_number(asked, numbers):
    assert [c.number for c in find_cards("hpu", asked)] == numbers


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("9", "here are 8: 0, 1, 2"),
        ("0,8", "there is no card 8; here are 8.*not the index that hl-smi counts by"),
        ("0", "neither all, a count from 1"),
        ("1,1", "nor a list of different numbers"),
        ("-1", "neither all"),
        ("9" * 20, "neither all"),
        ("9" * 5000, "neither all"),
        ("0-3", "neither all"),
        ("most", "neither all"),
    ],
)
def test_cards_that_are_not_there_are_refused_with_what_is(asked, says):
    with pytest.raises(ConfigError, match=says):
        find_cards("hpu", asked)


def test_cards_that_this_process_may_not_see_are_not_listed(monkeypatch):
    monkeypatch.setenv("HABANA_VISIBLE_MODULES", "2,5")

    assert [c.number for c in list_cards("hpu")] == [2, 5]


def test_sysfs_lists_them_where_hl_smi_is_absent(machine, monkeypatch):
    devices = machine / "devices"
    for i, module in enumerate((3, 1)):
        device = devices / f"0000:{i + 0x19:02x}:00.0"
        device.mkdir(parents=True)
        (device / "module_id").write_text(f"{module}\n")
        (machine / "accel" / f"accel{i}").mkdir(parents=True)
        (machine / "accel" / f"accel{i}" / "device").symlink_to(device)
    monkeypatch.setattr(cards, "query_hl_smi", list)
    monkeypatch.setattr(cards, "ACCEL_ROOTS", (machine / "accel",))

    assert [(c.number, c.numa_node) for c in list_cards("hpu")] == [(1, 0), (3, 0)]


def test_a_machine_without_a_card_says_who_lists_none(monkeypatch):
    monkeypatch.setattr(cards, "query_hl_smi", list)
    monkeypatch.setattr(cards, "ACCEL_ROOTS", ())

    with pytest.raises(DeviceError, match="no hpu card: hl-smi and sysfs list none"):
        find_cards("hpu", "all")


def test_a_gpu_is_pinned_by_its_uuid(machine, monkeypatch):
    lines = "0, GPU-aa, 00000000:19:00.0\n1, GPU-bb, 00000000:1D:00.0\n"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=lines))
    found = find_cards("cuda", "all")

    assert [(c.pins, c.numa_node) for c in found] == [
        ({"CUDA_VISIBLE_DEVICES": "GPU-aa"}, 0),
        ({"CUDA_VISIBLE_DEVICES": "GPU-bb"}, 1),
    ]


def test_a_host_is_one_process_a_node_or_as_many_as_asked_for():
    assert [c.cpus for c in find_cards("cpu", "all")] == [
        (0, 8, 1, 9, 2, 10, 3, 11),
        (4, 12, 5, 13, 6, 14, 7, 15),
    ]
    assert [len(c.cpus) for c in find_cards("cpu", "4")] == [4, 4, 4, 4]


def test_more_processes_than_cores_are_refused():
    with pytest.raises(ConfigError, match="17 processes on 16 usable cores"):
        find_cards("cpu", "17")


def test_more_cards_than_cores_share_them_in_turn(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 4})
    found = find_cards("hpu", "all")

    assert {c.cpus for c in found} == {(0,), (4,)}


def test_a_name_tells_the_node_of_a_cluster():
    assert str(Card(device="hpu", number=3, host="node-b")) == "node-b hpu 3"


def test_a_mapped_corpus_is_the_decoded_one(tmp_path):
    corpus = load(parse_dataset("canary-speech"), limit=3)
    size = write_mapped(corpus, tmp_path / "corpus.f32")
    mapped = read_mapped(tmp_path / "corpus.f32")

    assert size == sum(u.waveform.nbytes for u in corpus.utterances)
    for one, other in zip(corpus.utterances, mapped.utterances, strict=True):
        np.testing.assert_array_equal(one.waveform, other.waveform)
        assert (one.utterance_id, one.reference, one.speaker, one.notes) == (
            other.utterance_id,
            other.reference,
            other.speaker,
            other.notes,
        )
    assert (mapped.expected, mapped.notes, mapped.spec) == (
        corpus.expected,
        corpus.notes,
        corpus.spec,
    )
    assert not mapped.utterances[0].waveform.flags.owndata


def test_a_mapped_corpus_that_was_cut_off_is_refused(tmp_path):
    write_mapped(load(parse_dataset("canary-speech"), limit=1), tmp_path / "corpus.f32")
    with (tmp_path / "corpus.f32").open("r+b") as file:
        file.truncate(100)

    with pytest.raises(DataError, match="100 bytes for"):
        read_mapped(tmp_path / "corpus.f32")


@pytest.mark.parametrize(
    ("environ", "gpu"),
    [
        ({"LOCAL_RANK": "2"}, "2"),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "1"}, "1"),
        ({"LOCAL_RANK": "1", "CUDA_VISIBLE_DEVICES": "4,6"}, "6"),
        ({"SLURM_LOCALID": "3", "CUDA_VISIBLE_DEVICES": "GPU-aa"}, "GPU-aa"),
        ({"SLURM_LOCALID": "3", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}, "3"),
        ({"RANK": "3"}, None),
    ],
)
def test_processes_of_a_launcher_do_not_meet_on_one_gpu(environ, gpu):
    cards.pin_to_local_rank(environ)

    assert environ.get("CUDA_VISIBLE_DEVICES") == gpu

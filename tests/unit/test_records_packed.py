"""Packed records: what many share is read once, and what was changed is found all the same."""

import json
import os
import zlib
from dataclasses import replace

import pytest

from tests.helpers.records import make_record, make_scores
from w2v_core.errors import RecordError
from w2v_core.records.history import History
from w2v_core.records.packed import pack, unpack
from w2v_core.records.record import from_json, to_json


def repacked(record, change):
    """Change a record's JSON values behind its checksum."""
    body, digest = pack(record)
    values = json.loads(zlib.decompress(body))
    text = json.dumps(change(values) or values, ensure_ascii=False, separators=(",", ":"))
    return zlib.compress(text.encode()), digest


def wrong_word(values):
    values["scores"][3]["hypothesis"] += " MORE"


def faster(values):
    values["rtfx"] *= 2


def behind(values):
    values["zeal"] = 1


def twice(values):
    """The name stands in the environment too."""
    values["environment"]["scores"] = "1"


def first(values):
    return {"scores": values.pop("scores"), **values}


def test_a_packed_record_is_what_its_json_reads_as():
    record = make_record(notes=('a ,"scores":[ in a text',))

    assert unpack(*pack(record), source="h", known={}) == from_json(to_json(record)) == record


def test_equal_transcripts_are_kept_once():
    known = {}
    one, other = (unpack(*pack(make_record(run=r)), source="h", known=known) for r in (1, 2))

    assert one.scores is other.scores
    assert len(known) == 1


def test_other_transcripts_are_told_apart():
    known = {}
    better = make_record(run=2, scores=make_scores(errors=[0] * 12))
    unpack(*pack(make_record(run=1)), source="h", known=known)

    assert unpack(*pack(better), source="h", known=known) == better


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("change", [wrong_word, faster, behind, twice], ids=lambda f: f.__name__)
def test_a_changed_record_does_not_fit_its_checksum(change, is_known):
    known = {}
    record = make_record()
    if is_known:
        unpack(*pack(record), source="h", known=known)

    with pytest.raises(RecordError, match=r"^h: (checksum|fields)"):
        unpack(*repacked(record, change), source="h", known=known)


def test_an_order_of_fields_that_pack_does_not_write_is_read():
    record = make_record()

    assert unpack(*repacked(record, first), source="h", known={}) == record


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"a":1,"scores":', b'x,"scores":[]}'])
def test_what_is_no_record_is_told_by_the_history_s_name(text):
    with pytest.raises(RecordError, match=r"^h: "):
        unpack(zlib.compress(text), "0" * 64, source="h", known={})


def test_a_history_holds_records_of_files_whose_names_are_no_utf_8(tmp_path):
    """Their bytes stand in a record as Python has them in a path: as lone surrogates."""
    name = os.fsdecode(b"caf\xe9 \\ud")
    changes = {"release": name, "dataset": name, "command": f"w2v run --release {name}"}
    record = replace(make_record(), **changes, environment={"host": name})

    with History(tmp_path / "h.sqlite") as history:
        assert history.append([record]) == 1
        assert history.append([record]) == 0
        assert history.records(release=name) == [record]
        assert [*history.query(release=name)["dataset"]] == [name.replace("\udce9", "\\udce9")]
        assert len(history.environments()) == 1

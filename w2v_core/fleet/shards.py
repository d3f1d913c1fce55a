"""Whether records are the shards of one set: all of them, each id once, measured alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from w2v_core.errors import RecordError
from w2v_core.printable import printable, shorten
from w2v_core.records.fields import describe
from w2v_core.records.record import CellRecord, Shard

MAX_NAMED = 5
SAME = (
    *("release", "cell", "device", "device_name", "model", "dtype", "dataset", "graphs"),
    *("forward", "autocast", "limit", "text_normalisation"),
)
"""Fields that all shards of a record share, or they are of different measurements."""

Sourced = tuple[str, CellRecord]
"""Where a record was read from, and the record."""


def fitting(found: Sequence[Sourced]) -> list[CellRecord]:
    """Return the shards of one cell by their numbers.

    Raises:
        RecordError: one is missing, or there twice; an id is; or they were not measured alike.
    """
    shards = _in_order(found)
    _refuse_other_ids(shards)
    _refuse_others(shards)
    return [record for _, record in shards]


def some(ids: Sequence[str]) -> str:
    """Count ids and name the first."""
    named = ", ".join(printable(i) for i in ids[:MAX_NAMED])
    more = len(ids) - MAX_NAMED
    return f"{len(ids)} utterances: {named}" + (f" and {more} more" if more > 0 else "")


def _shard(record: CellRecord, source: str) -> Shard:
    if record.shard is None:
        what = f"merged of {len(record.merged)} already" if record.merged else "a whole run"
        raise RecordError(f"{source}: {record.cell} is {what}, no shard; leave it out")
    return record.shard


def _in_order(found: Sequence[Sourced]) -> list[Sourced]:
    """Return the shards by number; refuse one that is there twice, or not at all."""
    numbered: dict[int, Sourced] = {}
    of = _shard(found[0][1], found[0][0]).of
    for source, record in found:
        shard = _shard(record, source)
        if shard.of != of:
            raise RecordError(
                f"{record.cell}: {found[0][0]} is one of {of} shards, {source} of {shard.of}; "
                "merge the shards of one job"
            )
        if shard.number in numbered:
            other = numbered[shard.number][0]
            raise RecordError(
                f"{record.cell}: shard {shard.number} of {of} stands in {other} and in {source}; "
                "leave one of them out"
            )
        numbered[shard.number] = (source, record)
    if missing := [n for n in range(1, of + 1) if n not in numbered]:
        lost = _ids_of_none([record for _, record in numbered.values()])
        raise RecordError(
            f"{found[0][1].cell}: of {of} shards {', '.join(map(str, missing))} "
            f"{'is' if len(missing) == 1 else 'are'} missing, with {some(lost)}; run them "
            f"(w2v run --shard {missing[0]}/{of} ...) and merge all"
        )
    return [numbered[n] for n in sorted(numbered)]


def _ids_of_none(records: Sequence[CellRecord]) -> list[str]:
    """Return the ids that no shard accounts for."""
    shards = [r.shard for r in records if r.shard is not None]
    held = {i for shard in shards for i in shard.ids}
    return sorted({i for shard in shards for i in shard.whole} - held)


def _refuse_other_ids(shards: Sequence[Sourced]) -> None:
    """Refuse shards whose ids are not the whole set's, each once."""
    source, first = shards[0]
    whole = _shard(first, source).whole
    for other, record in shards[1:]:
        if (theirs := _shard(record, other).whole) != whole:
            odd = sorted(set(theirs) ^ set(whole))
            raise RecordError(
                f"{first.cell}: {source} and {other} are shards of different sets; only one of "
                f"them has {some(odd)}"
            )
    count = Counter(i for s, r in shards for i in _shard(r, s).ids)
    if twice := sorted(i for i, n in count.items() if n > 1):
        raise RecordError(f"{first.cell}: several shards have {some(twice)}; merge each id once")
    if odd := sorted(set(whole) ^ set(count)):
        raise RecordError(f"{first.cell}: no shard, or no set, has {some(odd)}")
    for other, record in shards:
        held = {s.utterance_id for s in record.scores}.union(record.failed, record.excluded)
        if odd := sorted(held - set(_shard(record, other).ids)):
            raise RecordError(f"{other}: {record.cell} holds {some(odd)}, not of its shard")


def _refuse_others(shards: Sequence[Sourced]) -> None:
    """Refuse shards that were not measured alike: parameters, weights, software."""
    source, first = shards[0]
    for other, record in shards[1:]:
        ours, theirs = _identity(first), _identity(record)
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                raise RecordError(
                    f"{first.cell}: {name} is {_told(ours.get(name))} in {source} and "
                    f"{_told(theirs.get(name))} in {other}; merge shards that were measured alike"
                )


def _identity(record: CellRecord) -> dict[str, object]:
    known = {k: v for k, v in record.environment.items() if describe(k).role == "identifies"}
    return {**known, **{name: getattr(record, name) for name in SAME}}


def _told(value: object) -> str:
    return printable(shorten(str(value), 80))

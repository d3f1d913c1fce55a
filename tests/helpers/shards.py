"""Records of shards, cut out of the record of a whole set as a process would have left them."""

from dataclasses import replace

from w2v_core.records.record import Shard


def ids_of(record):
    """Return all ids that a record accounts for, sorted."""
    held = {s.utterance_id for s in record.scores}.union(record.failed, record.excluded)
    return tuple(sorted(held))


def cut(record, parts):
    """Cut a record into shards of the given ids; excluded ids go with the first one."""
    whole = ids_of(record)
    return [
        part_of(record, ids, number=n, of=len(parts), whole=whole)
        for n, ids in enumerate(parts, start=1)
    ]


def part_of(record, ids, *, number, of, whole):
    """Make the record of one shard."""
    scores = tuple(s for s in record.scores if s.utterance_id in ids)
    failed = tuple(i for i in record.failed if i in ids)
    excluded = dict(record.excluded) if number == 1 else {}
    edits = sum(s.substitutions + s.deletions + s.insertions for s in scores)
    words = sum(s.reference_words for s in scores)
    audio_s = sum(s.audio_s for s in scores if s.utterance_id not in failed)
    rounds_s = tuple(s * (1 + number / 100) for s in record.rounds_s)
    return replace(
        record,
        run_id=f"{record.run_id}-{number}",
        num_utterances=len(scores),
        audio_s=audio_s,
        wer=edits / words if words else None,
        **{
            name: sum(getattr(s, name) for s in scores)
            for name in ("substitutions", "deletions", "insertions", "reference_words")
        },
        rounds_s=rounds_s,
        failed=failed,
        excluded=excluded,
        shard=Shard(number=number, of=of, ids=tuple(sorted([*ids, *excluded])), whole=whole),
        scores=scores,
    )

"""A corpus in shards of about as much audio each; every process finds the same ones by itself."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import replace

from w2v_core.config import Share
from w2v_core.data.catalog import Corpus
from w2v_core.errors import ConfigError


def assign(num_samples: Mapping[str, int], of: int) -> tuple[tuple[str, ...], ...]:
    """Deal utterances out, the longest first, each to the shard with the least audio so far.

    The longest shard has at most 4/3 of the audio that the best deal would leave it (Graham,
    "Bounds on multiprocessing timing anomalies", SIAM J. Appl. Math. 17(2), 1969).

    Args:
        num_samples: Length of each utterance by id; the order does not matter.
        of: How many shards.

    Returns:
        The ids of each shard, sorted.
    """
    shards: list[list[str]] = [[] for _ in range(of)]
    least = [(0, number) for number in range(of)]
    for name in sorted(num_samples, key=lambda i: (-num_samples[i], i)):
        total, number = heapq.heappop(least)
        shards[number].append(name)
        heapq.heappush(least, (total + num_samples[name], number))
    return tuple(tuple(sorted(shard)) for shard in shards)


def take(corpus: Corpus, share: Share) -> Corpus:
    """Return one shard of a set. The first one accounts for the exclusions.

    Raises:
        ConfigError: there are fewer utterances than shards.
    """
    count = len(corpus.utterances)
    if share.of > count:
        raise ConfigError(
            f"{share.of} shards of {corpus.spec.name}, which has {count} utterances to transcribe "
            f"here; use at most {count}",
            field="shard",
            value=str(share),
        )
    lengths = {u.utterance_id: u.num_samples for u in corpus.utterances}
    ids = frozenset(assign(lengths, share.of)[share.number - 1])
    exclusions = corpus.exclusions if share.number == 1 else ()
    return replace(
        corpus,
        utterances=tuple(u for u in corpus.utterances if u.utterance_id in ids),
        exclusions=exclusions,
        expected=tuple(sorted([*ids, *(e.utterance_id for e in exclusions)])),
        share=share,
        whole=corpus.expected,
    )

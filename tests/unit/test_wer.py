"""Word edits and corpus WER, against a second implementation."""

import numpy as np
import pytest

from w2v_core.errors import TranscriptError
from w2v_core.scoring.text import Recipe
from w2v_core.scoring.wer import WordEdits, corpus_wer, score

NUM_PAIRS = 10_000
MAX_WORDS = 8
WORDS = ("A", "B", "C")  # few words: many optimal alignments, the hard case


def edits(reference, hypothesis):
    (result,) = score({"u": reference}, {"u": hypothesis})
    return (
        result.substitutions,
        result.deletions,
        result.insertions,
        result.reference_words,
    )


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        pytest.param("A B C", "A B C", (0, 0, 0, 3), id="equal"),
        pytest.param("A B C", "A X C", (1, 0, 0, 3), id="substitution"),
        pytest.param("A B C", "A C", (0, 1, 0, 3), id="deletion"),
        pytest.param("A C", "A B C", (0, 0, 1, 2), id="insertion"),
        pytest.param("A B", "", (0, 2, 0, 2), id="empty-hypothesis"),
        pytest.param("", "A B", (0, 0, 2, 0), id="empty-reference"),
        pytest.param("", "", (0, 0, 0, 0), id="both-empty"),
        pytest.param("it's  a b", "IT'S A B", (0, 0, 0, 3), id="case-and-spacing"),
        pytest.param("DON'T", "DONT", (1, 0, 0, 1), id="apostrophe-counts"),
        pytest.param("CAF\u00c9", "CAFE\u0301", (0, 0, 0, 1), id="composed"),
        pytest.param("CAF\u00c9", "CAFE", (1, 0, 0, 1), id="accent-counts"),
        pytest.param("AB", "A B", (1, 0, 1, 1), id="split-word"),
    ],
)
def test_edits_of_known_pairs(reference, hypothesis, expected):
    assert edits(reference, hypothesis) == expected


@pytest.fixture(scope="module")
def fuzzed():
    """10,000 pairs of 0 to 8 words: word ids, lengths, and our counts (pairs, 3)."""
    rng = np.random.default_rng(0)
    words = rng.integers(0, len(WORDS), (2, NUM_PAIRS, MAX_WORDS))
    lengths = rng.integers(0, MAX_WORDS + 1, (2, NUM_PAIRS))
    lines = [
        [
            " ".join(WORDS[w] for w in row[:n])
            for row, n in zip(words[side], lengths[side], strict=True)
        ]
        for side in (0, 1)
    ]
    results = score(
        {str(i): line for i, line in enumerate(lines[0])},
        {str(i): line for i, line in enumerate(lines[1])},
    )
    assert [r.reference_words for r in results] == lengths[0].tolist()
    counts = np.array([(r.substitutions, r.deletions, r.insertions) for r in results])
    return words, lengths, counts


def without_common_ends(words, lengths):
    """Drop each pair's common prefix, then its common suffix, as rapidfuzz does first."""
    trimmed = np.stack([np.full_like(words[0], -1), np.full_like(words[1], -2)])
    sizes = np.zeros_like(lengths)
    for i in range(words.shape[1]):
        first, second = (words[side, i, : lengths[side, i]].tolist() for side in (0, 1))
        while first and second and first[0] == second[0]:
            del first[0], second[0]
        while first and second and first[-1] == second[-1]:
            del first[-1], second[-1]
        for side, rest in enumerate((first, second)):
            trimmed[side, i, : len(rest)] = rest
            sizes[side, i] = len(rest)
    return trimmed, sizes


def count_edits(words, lengths):
    """Fill the Levenshtein tables of all pairs at once: (pairs, 3) S, D, I.

    The total is unique. Among optimal alignments the split follows rapidfuzz's backtrace: a
    deletion where one is optimal, else an insertion where the cell to the left is cheaper than the
    diagonal one, else the diagonal.
    """
    size = words.shape[2]
    cost = np.zeros((size + 1, size + 1, words.shape[1]), dtype=np.int64)
    counts = np.zeros((*cost.shape, 3), dtype=np.int64)
    steps = np.arange(size + 1)[:, None]
    cost[:, 0], cost[0, :] = steps, steps
    counts[:, 0, :, 1], counts[0, :, :, 2] = steps, steps
    for r in range(1, size + 1):
        for h in range(1, size + 1):
            differ = (words[0, :, r - 1] != words[1, :, h - 1]).astype(np.int64)
            up, left, diagonal = cost[r - 1, h], cost[r, h - 1], cost[r - 1, h - 1]
            cost[r, h] = np.minimum(np.minimum(up, left) + 1, diagonal + differ)
            substitution = counts[r - 1, h - 1] + differ[:, None] * (1, 0, 0)
            insertion = counts[r, h - 1] + (0, 0, 1)
            deletion = counts[r - 1, h] + (0, 1, 0)
            other = np.where((left < diagonal)[:, None], insertion, substitution)
            counts[r, h] = np.where((up + 1 == cost[r, h])[:, None], deletion, other)
    pairs = np.arange(words.shape[1])
    return counts[lengths[0], lengths[1], pairs], cost[lengths[0], lengths[1], pairs]


def test_number_of_edits_equals_a_second_implementation_on_fuzzed_pairs(fuzzed):
    """The number is unique, so every implementation must agree on it."""
    words, lengths, counts = fuzzed
    _, distances = count_edits(words, lengths)

    np.testing.assert_array_equal(counts.sum(axis=1), distances)


def test_split_of_edits_equals_a_second_implementation_on_fuzzed_pairs(fuzzed):
    """S, D and I each, under the tie-break that jiwer's aligner has."""
    words, lengths, counts = fuzzed
    expected, _ = count_edits(*without_common_ends(words, lengths))

    np.testing.assert_array_equal(counts, expected)


def test_edits_turn_the_reference_length_into_the_hypothesis_length(fuzzed):
    """N - D + I = M, whatever the tie-break."""
    _, lengths, counts = fuzzed

    np.testing.assert_array_equal(lengths[0] - counts[:, 1] + counts[:, 2], lengths[1])


def test_wer_is_over_the_corpus_not_a_mean_of_utterances():
    """1 edit of 1 word and 0 of 3: 1/4, where the mean of ratios would be 1/2."""
    result = score({"a": "X", "b": "A B C"}, {"a": "Y", "b": "A B C"})

    assert corpus_wer(result) == 0.25


def test_wer_can_exceed_one():
    assert corpus_wer(score({"a": "X"}, {"a": "A B C"})) == 3


def test_insertions_against_an_empty_reference_count():
    """They are errors of the corpus although the utterance adds no words to divide by."""
    assert corpus_wer(score({"a": "", "b": "A B"}, {"a": "X", "b": "A B"})) == 0.5


@pytest.mark.parametrize("references", [{}, {"a": ""}])
def test_wer_without_reference_words_is_not_a_number(references):
    """Nothing was measured, and that is neither 0 nor a division by zero."""
    assert corpus_wer(score(references, {})) is None


def test_missing_hypothesis_is_all_deletions_and_marked():
    missing, empty, fine = score({"a": "X Y", "b": "X Y", "c": "X"}, {"b": "", "c": "X"})

    assert (missing.deletions, missing.reference_words) == (2, 2)
    assert [missing.is_missing, empty.is_missing, fine.is_missing] == [True, False, False]


def test_results_follow_the_references_by_id_not_by_position():
    result = score([("b", "X"), ("a", "Y")], [("a", "Y"), ("b", "X")])

    assert [(r.utterance_id, r.edits) for r in result] == [("b", 0), ("a", 0)]


def test_hypothesis_without_a_reference_is_an_error_with_its_id():
    with pytest.raises(TranscriptError, match="1 hypotheses have no reference: z"):
        score({"a": "X"}, {"a": "X", "z": "Y"})


@pytest.mark.parametrize("side", ["reference", "hypothesis"])
def test_duplicate_id_is_an_error_with_its_id(side):
    twice, once = [("a", "X"), ("a", "Y")], [("a", "X")]

    with pytest.raises(TranscriptError, match=f"1 {side} ids occur twice: a"):
        score(twice if side == "reference" else once, twice if side == "hypothesis" else once)


def test_recipe_is_applied_to_both_sides():
    """Under a recipe without upper-casing, case counts."""
    exact = Recipe(name="exact", version=1, steps=("collapse-whitespace",))

    (result,) = score({"a": "word  Word"}, {"a": "WORD Word"}, recipe=exact)

    assert (result.substitutions, result.reference_words) == (1, 2)


def test_counts_sum_to_the_distance():
    value = WordEdits(
        utterance_id="a", substitutions=1, deletions=2, insertions=4, reference_words=9
    )

    assert value.edits == 7

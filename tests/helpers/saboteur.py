"""A pytest plugin that breaks the decoder: ``-p tests.helpers.saboteur`` drops double letters."""

from itertools import groupby

from w2v_core.engine import ctc


def decode_without_blanks_between(ids, num_frames, vocabulary):
    """Drop blanks before merging repeats: the wrong order."""
    tokens = list(vocabulary.tokens)
    tokens[vocabulary.delimiter_id] = " "
    rows = (row[:n].tolist() for row, n in zip(ids, num_frames, strict=True))
    kept = ([i for i in row if i != vocabulary.blank_id] for row in rows)
    return ["".join(tokens[i] for i, _ in groupby(row)).strip() for row in kept]


ctc.decode_batch = decode_without_blanks_between

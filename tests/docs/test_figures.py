"""Figures that the documents repeat are those of the code."""

import pytest

from tests.docs.documents import read
from w2v_core.config import MAX_STREAMS, BatchPlan
from w2v_core.verdict.approve import MIN_RUNS
from w2v_core.verdict.decide import Policy
from w2v_core.verdict.judge import MAX_AGE


def figures():
    """Return (document, words of it) where the words repeat a figure of the code."""
    policy, plan = Policy(), BatchPlan()
    return [
        ("README.md", f"# {MIN_RUNS} or more runs"),
        ("docs/measuring.md", f"at least {MIN_RUNS} valid runs"),
        ("README.md", f"static lengths, {plan.num_buckets} at most by default; rows, "),
        ("README.md", f"rows, {plan.batch_size} by default"),
        ("docs/measuring.md", f"excludes a loss of {policy.margin * 100:.0f} %"),
        ("docs/measuring.md", f"a loss above {policy.tolerance * 100:.1f} % is shown"),
        ("docs/measuring.md", f"At most {policy.family_alpha * 100:.0f} % of the nights"),
        ("docs/measuring.md", f"margin of {policy.wer_margin * 100:.1f} points"),
        ("docs/gaudi.md", f"older than {MAX_AGE.total_seconds() / 3600:.0f} hours"),
        ("docs/from-wav2vec.md", f"at most {MAX_STREAMS} copy streams"),
        ("docs/from-wav2vec.md", f"here {plan.batch_size} share a batch"),
    ]


@pytest.mark.parametrize(("document", "words"), figures())
def test_a_figure_is_that_of_the_code(document, words):
    assert words in " ".join(read(document).split())


@pytest.mark.slow
def test_figures_of_the_engine_are_those_of_the_code():
    from w2v_core.bench.parity import limit_of
    from w2v_core.engine.bucketing import PACKED_PARAMETERS

    for document in ("README.md", "docs/measuring.md"):
        assert f"{PACKED_PARAMETERS / 1e6:.0f} M " in read(document)
    limit = limit_of("bfloat16", device="cpu", device_name="any").changed_fraction
    assert f"at most {limit * 100:.1f} % of them" in " ".join(read("docs/measuring.md").split())

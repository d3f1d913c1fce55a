"""The absolute WER ceilings: what they are, and where there are none."""

from __future__ import annotations

import pytest

from w2v_core.model.catalog import MODELS
from w2v_core.types import DTYPES
from w2v_core.verdict.ceilings import TOLERANCES, NoThreshold, Threshold, ceiling


@pytest.mark.parametrize(
    ("model", "dtype", "expected"),
    [
        ("base", "float32", 0.035),
        ("base", "bfloat16", 0.0355),
        ("large", "float32", 0.02),
        ("large", "bfloat16", 0.0205),
    ],
)
def test_test_clean_is_held_to_its_published_wer(model, dtype, expected):
    """Published value plus tolerance; the source is named."""
    found = ceiling(model, "test-clean", dtype, None)

    assert isinstance(found, Threshold)
    assert found.ceiling == pytest.approx(expected)
    assert "model card" in found.source


@pytest.mark.parametrize(
    ("wer", "expected"),
    [
        pytest.param(0.0349, True, id="below"),
        pytest.param(0.034 + 0.001, True, id="at-the-ceiling"),
        pytest.param(0.035 + 1 / 52_576, False, id="one-word-above"),
    ],
)
def test_the_ceiling_itself_passes(wer, expected):
    """One word above fails, float64 rounding does not."""
    assert ceiling("base", "test-clean", "float32", None).admits(wer) is expected


@pytest.mark.parametrize("model", ["canary-base", "canary-large"])
def test_a_canary_is_held_to_its_own_goldens(model):
    """In float32 not one edit more than the golden transcripts have."""
    found = ceiling(model, "canary-speech", "float32", None, golden_wer=25 / 1000)

    assert found.admits(25 / 1000)
    assert not found.admits(26 / 1000)


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        pytest.param(("base", "test-clean", "float32", 100), {}, "limit of 100", id="limit"),
        pytest.param(("base", "dev-clean-dummy", "float32", None), {}, "73", id="dummy"),
        pytest.param(("my/model", "test-clean", "float32", None), {}, "my/model", id="model"),
        pytest.param(("base", "my-corpus", "float32", None), {}, "my-corpus", id="dataset"),
        pytest.param(
            ("base", "test-clean", "float32", None), {"forward": "stock"}, "stock", id="stock"
        ),
        pytest.param(
            ("canary-base", "canary-speech", "float32", None), {}, "golden", id="no-golden-wer"
        ),
    ],
)
def test_no_ceiling_has_its_reason(arguments, options, said):
    """What is not published is not held against anybody, and never a pass."""
    found = ceiling(*arguments, **options)

    assert isinstance(found, NoThreshold)
    assert said in found.reason


def test_the_table_names_what_the_catalog_knows():
    """No row is for a model or dtype that does not exist, and each model has all dtypes."""
    assert {model for model, _, _ in TOLERANCES} == set(MODELS)
    assert all(
        (model, dataset, dtype) in TOLERANCES
        for model, dataset, _ in TOLERANCES
        for dtype in DTYPES
    )

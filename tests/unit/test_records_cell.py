"""A cell's text form is its identity: what is written is read back."""

import itertools

import pytest

from w2v_core.config import BatchPlan
from w2v_core.records.cell import form_cells, parse_cell


@pytest.mark.parametrize(("graphs", "autocast"), list(itertools.product((True, False), repeat=2)))
def test_a_text_form_says_what_the_cell_is(graphs, autocast):
    (cell,) = form_cells(
        models=[("canary-base", "canary_base")],
        dtypes=["bfloat16"],
        datasets=[("test-clean", "test_clean")],
        graphs=[graphs],
        forwards=["stock"],
        plan=BatchPlan(),
        autocast=autocast,
    )
    named = parse_cell(str(cell))

    for name in ("model_name", "dtype", "dataset_name", "graphs", "forward", "autocast"):
        assert getattr(named, name) == getattr(cell, name)


@pytest.mark.parametrize("text", ["", "a-b-c-d", "a-b-c-maybe-e", "a-b-c-graphs-e-f"])
def test_another_text_is_no_cell(text):
    assert parse_cell(text) is None

"""Which device an expression of ``-m`` asks for, held against pytest's own selection."""

import itertools
import random
import subprocess
import sys

import pytest
from _pytest.mark.expression import Expression

from w2v_core.markers import DEVICE_ORDER, devices_asked_for


@pytest.mark.parametrize(
    ("expression", "devices"),
    [
        ("hpu", ("hpu",)),
        ("(hpu)", ("hpu",)),
        ("hpu and not slow", ("hpu",)),
        ("not slow and hpu", ("hpu",)),
        ("(hpu and slow) or (hpu and not slow)", ("hpu",)),
        ("not (not hpu or slow)", ("hpu",)),
        ("hpu(card=2)", ("hpu",)),
        ("cuda and (a or b)", ("cuda",)),
        ("cpu", ("cpu",)),
        ("hpu or cuda", ("hpu", "cuda")),
        ("cuda or hpu and slow", ("hpu", "cuda")),
        ("hpu and cuda", ("hpu",)),
        ("hpu or cuda or cpu", ("hpu", "cuda", "cpu")),
        ("not hpu", ()),
        ("hpu or slow", ()),
        ("not slow", ()),
        ("hpux", ()),
        ("slow or hpu or not slow", ()),
        ("", ()),
        ("  ", ()),
        ("hpu and", ()),
        (" or ".join(f"(hpu and m{i})" for i in range(60)), ("hpu",)),
    ],
)
def test_an_expression_asks_for_what_all_that_it_selects_must_carry(expression, devices):
    assert devices_asked_for(expression) == devices


def _expression(rng, depth):
    if depth == 0 or rng.random() < 0.2:
        return rng.choice([*DEVICE_ORDER, "slow", "hub"])
    if rng.random() < 0.25:
        return f"not ({_expression(rng, depth - 1)})"
    return (
        f"({_expression(rng, depth - 1)} {rng.choice(['and', 'or'])} {_expression(rng, depth - 1)})"
    )


@pytest.mark.parametrize("seed", range(40))
def test_it_is_the_smallest_choice_that_no_selected_test_lacks(seed):
    """Oracle: every set of markers put through pytest's own matcher."""
    text = _expression(random.Random(seed), 4)
    compiled, names = Expression.compile(text), [*DEVICE_ORDER, "slow", "hub"]
    carried = [dict(zip(names, v, strict=True)) for v in itertools.product([False, True], repeat=5)]
    selected = [c for c in carried if compiled.evaluate(lambda name, c=c: c[name])]
    choices = [c for n in (1, 2, 3) for c in itertools.combinations(DEVICE_ORDER, n)]
    holds = [c for c in choices if all(any(s[d] for d in c) for s in selected)]

    assert devices_asked_for(text) == (holds[0] if holds else ())


def test_asking_imports_no_torch():
    code = (
        "import sys; from w2v_core.markers import devices_asked_for as f; f('hpu and not slow'); "
        "sys.exit('torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

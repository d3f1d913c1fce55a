"""The weights that a forward computes with: all of them are read, and where they differ is said."""

import gc
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import compilers
from tests.helpers.engines import make_engine
from w2v_core.config import BatchPlan
from w2v_core.fleet.weights import (
    Weights,
    compare_weights,
    held_tensors,
    read_weights,
    read_written,
    weight_differences,
    write_weights,
)
from w2v_core.model.layers import Linear

PACKED = BatchPlan(kind="packed")
STATIC = BatchPlan(kind="optimal", num_buckets=1, batch_size=1)
FORWARDS = [
    pytest.param({"family": family, **config}, id=f"{family}-{name}")
    for family in ("group", "layer")
    for name, config in {
        "packed": {"plan": PACKED},
        "packed-bfloat16": {"plan": PACKED, "dtype": "bfloat16"},
        "exact": {"plan": STATIC},
        "stock": {"plan": STATIC, "forward": "stock"},
    }.items()
]


def reachable(module):
    """Return every tensor that can be reached from a module, closures and plain attributes too."""
    found, seen, todo = {}, set(), [module]
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, type | ModuleType):
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor):
            found[id(one)] = one
            continue
        globals_of = getattr(one, "__globals__", None)
        todo += [other for other in gc.get_referents(one) if other is not globals_of]
    return found


@pytest.mark.parametrize("config", FORWARDS)
def test_every_tensor_of_a_forward_is_read(config):
    forward = make_engine(**config).runner.step.model

    assert {id(tensor) for _, tensor in held_tensors(forward)} == set(reachable(forward))


@pytest.mark.parametrize("config", FORWARDS)
def test_cards_with_more_cores_load_the_same_weights(config):
    """Sums of a weight norm differ with the number of threads among which they are shared."""
    threads = torch.get_num_threads()
    try:
        found = []
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            found.append(read_weights(make_engine(**config)))
    finally:
        torch.set_num_threads(threads)

    assert weight_differences("cpu 1", found[1], found[0]) == []
    assert weight_differences("cpu 2", found[2], found[0]) == []


@pytest.mark.parametrize("config", FORWARDS)
def test_a_flipped_bit_of_any_tensor_is_located(config):
    """The lowest bit of the last byte of one tensor after the other."""
    engine = make_engine(**config)
    loaded = read_weights(engine)

    for name, tensor in held_tensors(engine.runner.step.model):
        data = tensor.detach().view(-1).view(torch.uint8).numpy()
        data[-1] ^= 1
        (found,) = weight_differences("hpu 4", read_weights(engine), loaded)
        assert (found.tensor, found.card) == (name, "hpu 4")
        assert found.others == loaded.digests[name] != found.own
        data[-1] ^= 1
    assert read_weights(engine) == loaded


@given(st.integers(0, 31), st.integers(0, 2**32 - 1))
def test_any_bit_of_a_weight_changes_its_digest(bit, seed):
    engine = ENGINE
    weight = engine.runner.step.model.get_buffer("encoder.layers.0.out.weight")
    data, place = weight.view(-1).view(torch.int32).numpy().view(np.uint32), seed % weight.numel()
    before = read_weights(engine)
    data[place] ^= np.uint32(1 << bit)
    after = read_weights(engine)
    data[place] ^= np.uint32(1 << bit)

    (found,) = weight_differences("cpu 0", after, before)
    assert found.tensor == "encoder.layers.0.out.weight"


ENGINE = make_engine(plan=STATIC)


@pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"), reason="no oneDNN in this torch"
)
def test_prepacked_weights_are_read_out_of_their_blocks():
    """Packed tensors have no storage of rows; what is in the blocks is what computes."""
    source = torch.nn.Linear(48, 40)

    def packed():
        linear = Linear(source, dtype=torch.float32)
        linear._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight, 512)
        del linear.weight
        return SimpleNamespace(
            backend=make_engine(plan=STATIC).backend,
            config=ENGINE.config,
            runner=SimpleNamespace(step=SimpleNamespace(model=linear)),
        )

    before = read_weights(packed())
    assert sorted(before.digests) == ["_packed", "bias"]
    assert read_weights(packed()) == before
    with torch.no_grad():
        source.weight.view(-1).view(torch.int32)[7] ^= 1

    assert [d.tensor for d in weight_differences("cpu 0", read_weights(packed()), before)] == [
        "_packed"
    ]


def test_copies_of_a_compiler_are_not_read_and_it_says_so(monkeypatch):
    """OpenVINO packs constants of its own; digests of the tensors beside them would say nothing."""
    found = compilers.HostCompiler(
        name="openvino 1", of=lambda _: compilers.as_traced, is_quick=True, copies_weights=True
    )
    compilers.use_found(monkeypatch, found)
    weights = read_weights(make_engine(plan=STATIC, graphs=True))

    assert weights == Weights(digests={}, unread="openvino 1 computes with copies of its own")
    assert weights.digest is None
    assert weight_differences("cpu 0", weights, read_weights(ENGINE)) == []


def test_what_is_written_is_read_back(tmp_path):
    loaded = read_weights(ENGINE)
    write_weights(tmp_path / "weights.json", loaded)

    assert read_written(tmp_path / "weights.json") == loaded


def held(**digests):
    return Weights(digests={"a": "aaa", "b": "bbb", **digests})


def test_a_card_that_loaded_other_weights_is_outvoted():
    found, undecided = compare_weights({"hpu 0": held(), "hpu 1": held(b="ccc"), "hpu 2": held()})

    assert [(d.card, d.tensor, d.own, d.others) for d in found] == [("hpu 1", "b", "ccc", "bbb")]
    assert undecided == []


def test_two_cards_have_no_majority_and_both_digests_are_told():
    found, undecided = compare_weights({"hpu 0": held(), "hpu 1": held(b="ccc")})

    assert found == []
    assert undecided == ["b: SHA-256 hpu 0 bbb, hpu 1 ccc"]


def test_a_card_whose_weights_are_not_read_has_no_vote():
    unread = Weights(digests={}, unread="a compiler")

    assert compare_weights({"cpu 0": held(), "cpu 1": unread}) == ([], [])
    assert replace(held(), unread="x").digest is None

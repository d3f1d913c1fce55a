"""What the HPU backend captures, compiles and replays, and what it refuses there."""

from __future__ import annotations

import pytest
import torch

from tests import hpusim
from tests.hpusim import Config, Runtime
from w2v_core.backends import hpu_graphs
from w2v_core.backends.hpu import HpuBackend
from w2v_core.backends.hpu_probe import load_bridge
from w2v_core.errors import BucketOverflowError, DeviceLostError, GraphError

pytestmark = [pytest.mark.hpu, pytest.mark.usefixtures("simulator")]


def step(waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
    return (waveforms + num_samples[:, None]).to(torch.int32)


def inputs(
    value: float = 1.0, rows: int = 2, samples: int = 3
) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((rows, samples), value).to("hpu"), torch.ones(rows, dtype=torch.int32).to(
        "hpu"
    )


def test_step_that_reads_back_is_refused_in_a_capture(hpu_backend: HpuBackend) -> None:
    def reads_back(waveforms: torch.Tensor, num_samples: torch.Tensor) -> torch.Tensor:
        return step(waveforms * float(waveforms.sum().item()), num_samples)

    with hpu_backend.compute(), pytest.raises(GraphError, match="not supported during HPU Graph"):
        hpu_backend.capture(reads_back, *inputs())


def test_replay_of_another_shape_is_refused(hpu_backend: HpuBackend) -> None:
    with hpu_backend.compute():
        replay = hpu_backend.capture(step, *inputs())
        with pytest.raises(BucketOverflowError, match=r"\(2, 4\); this capture is for \(2, 3\)"):
            replay(*inputs(samples=4))


def test_replay_that_silently_ran_the_step_is_an_error(hpu_backend: HpuBackend) -> None:
    """Under another autocast state the key differs, and ``max_graphs`` is reached."""
    with hpu_backend.compute():
        replay = hpu_backend.capture(step, *inputs())
        with hpu_backend.autocast(), pytest.raises(GraphError, match="was not replayed"):
            replay(*inputs())


def test_capture_keeps_the_callers_tensors(hpu_backend: HpuBackend) -> None:
    mine = inputs(1.0)
    with hpu_backend.compute():
        replay = hpu_backend.capture(step, *mine)
        replay(*inputs(7.0))
    assert mine[0].cpu().unique().tolist() == [1.0]


def test_eager_mode_compiles_instead_of_capturing(simulator: None) -> None:
    """HPU graphs in eager mode would return the first call's ids for ever."""
    with hpusim.fresh(Config(lazy=False)) as rt:
        backend = HpuBackend(load_bridge())
        with backend.compute():
            replay = backend.capture(step, *inputs())
            found = [replay(*inputs(value)).cpu().unique().tolist() for value in (4.0, 5.0)]
        assert found == [[5], [6]]
        assert rt.stats["captures"] == 0
        assert backend.counters().compilations == 1


@pytest.mark.parametrize(("lazy", "nth"), [(True, 1), (True, 2), (False, 1)])
def test_capture_whose_event_is_lost_ends_by_its_deadline(
    simulator: None, monkeypatch: pytest.MonkeyPatch, lazy: bool, nth: int
) -> None:
    """Before the capture and after its run; what a queued command may read is kept."""
    monkeypatch.setattr(hpu_graphs, "_kept", [])
    with hpusim.fresh(Config(lazy=lazy)) as rt:
        backend = HpuBackend(load_bridge())
        with backend.compute():
            given = inputs()
            rt.faults.lost_events.add(rt.stats["events"] + nth)
            with pytest.raises(DeviceLostError, match=r"not come to rest within 0\.05 s"):
                backend.capture(step, *given, timeout_s=0.05)
    assert len(hpu_graphs._kept) == nth - 1


def test_more_buckets_than_dynamo_keeps_are_all_compiled(simulator: None) -> None:
    """dynamo goes back to eager past eight entries of one code object; a bucket must not."""
    with hpusim.fresh(Config(lazy=False)):
        backend = HpuBackend(load_bridge())
        with backend.compute():
            for samples in range(1, 13):
                backend.capture(step, *inputs(samples=samples))
        assert backend.counters().compilations == 12


def test_lazy_bridge_without_graphs_says_so(hpu: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.hpusim.torch_hpu._GRAPH_NAMES", ())
    backend = HpuBackend(load_bridge())
    with pytest.raises(GraphError, match="no wrap_in_hpu_graph"):
        backend.capture(step, *inputs())


def test_only_keywords_of_the_installed_signature_are_passed(
    hpu: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.hpusim import hpu_graphs

    def old(module: torch.nn.Module, asynchronous: bool = False) -> torch.nn.Module:  # 1.10
        return whole(module, asynchronous)

    whole = hpu_graphs.wrap_in_hpu_graph
    monkeypatch.setattr(hpu_graphs, "wrap_in_hpu_graph", old)
    backend = HpuBackend(load_bridge())
    with backend.compute():
        replay = backend.capture(step, *inputs())
        assert replay(*inputs(2.0)).cpu().unique().tolist() == [3]


def test_fingerprint_says_how_graphs_are_made(hpu_backend: HpuBackend) -> None:
    assert hpu_backend.fingerprint()["hpu_graph_arguments"] == (
        "asynchronous=True, disable_tensor_cache=True, max_graphs=1"
    )

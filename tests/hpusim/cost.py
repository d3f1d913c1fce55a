"""``python -m tests.hpusim.cost``: the simulator beside plain CPU, on a base-size forward.

Processor seconds of one thread, medians of interleaved rounds; equality is checked on the way.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import torch

SAMPLES = 80_000  # 5 s
ROUNDS = 9


def main() -> None:
    from tests import hpusim

    torch.set_num_threads(1)
    hpusim.install(hpusim.Config())
    import habana_frameworks.torch as ht

    from tests.helpers.checkpoints import make_module

    on_host, on_device = make_module(size="base"), make_module(size="base").to("hpu")
    graphed = ht.hpu.wrap_in_hpu_graph(make_module(size="base").to("hpu"), asynchronous=True)
    x = torch.randn(1, SAMPLES, generator=torch.Generator().manual_seed(0))

    def run(module: torch.nn.Module, device: str) -> torch.Tensor:
        logits: torch.Tensor = module(x.to(device)).logits.cpu()
        return logits

    ways: dict[str, Callable[[], torch.Tensor]] = {
        "cpu": partial(run, on_host, "cpu"),
        "op by op": partial(run, on_device, "hpu"),
        "replay": partial(run, graphed, "hpu"),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    with torch.inference_mode():
        ways["replay"]()  # the capture
        for _ in range(ROUNDS):
            logits = []
            for way, call in ways.items():
                started_s = time.process_time()
                logits.append(call())
                seconds[way].append(time.process_time() - started_s)
            assert torch.equal(logits[0], logits[1])
            assert torch.equal(logits[0], logits[2])
    cpu_s = statistics.median(seconds["cpu"])
    for way, values in seconds.items():
        median_s = statistics.median(values)
        sys.stdout.write(f"{way:<10}{median_s:8.3f} s {median_s / cpu_s:7.3f} x\n")


if __name__ == "__main__":
    main()

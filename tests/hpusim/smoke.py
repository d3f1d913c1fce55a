"""``python -m tests.hpusim.smoke``: the simulator in a process of its own, under any HPUSIM_KEY.

Exits with 0 where a tiny model's logits, op by op and replayed, equal the CPU's bit for bit.
"""

from __future__ import annotations

import sys
from typing import Any

import torch


def main() -> int:
    from tests import hpusim

    runtime = hpusim.install(hpusim.Config())
    import habana_frameworks.torch as ht

    from tests.helpers.checkpoints import make_module

    on_host, on_device = make_module(), make_module().to("hpu")
    graphed: Any = ht.hpu.wrap_in_hpu_graph(make_module().to("hpu"))
    equal = True
    with torch.inference_mode():
        for seed in range(3):
            x = torch.randn(2, 4000, generator=torch.Generator().manual_seed(seed))
            expected = on_host(x).logits
            for module in (on_device, graphed):
                equal &= torch.equal(module(x.to("hpu")).logits.cpu(), expected)
    return 0 if equal and runtime.stats["replays"] == 2 and not runtime.hazards else 1


if __name__ == "__main__":
    sys.exit(main())

"""The process of a simulated card: ``python -m tests.helpers.simulated_worker``, a job on stdin.

``W2V_PLANT`` is JSON, card number -> what is wrong with that card; ``pass``: from which pass of its
process on (a weight, in its ``bit``; what leaks), or in which (an activation, an id).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from tests.helpers.simulated_w2v import simulate

FRAME = 7
EXPONENT, SIGN = 2**30, -(2**31)
"""Bits of a float32: the highest of its exponent, its sign."""
NOTE = "W2V_PLANT_NOTE"
"""Variable that names a folder in which each card notes its pid."""


def plant(faults: dict) -> None:
    """Break the engine of this process as asked."""
    from w2v_core.engine.engine import Engine

    transcribe = Engine.transcribe

    def broken(self, utterances, **options):
        if faults.get("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        if faults.get("hangs"):
            os.kill(os.getpid(), signal.SIGSTOP) if faults["hangs"] == "stop" else time.sleep(3600)
        if faults.get("memory"):
            raise MemoryError("can't allocate memory: you tried to allocate 1099511627776 bytes")
        done = transcribe(self, utterances, **options)
        return replace(done, wall_s=faults.get("wall_s", done.wall_s))

    Engine.transcribe = broken
    if faults.get("busy"):
        from w2v_core.backends.hpu import HpuBackend
        from w2v_core.errors import DeviceError

        def refuse(self, bridge):
            raise DeviceError("the Gaudi card cannot be acquired (busy); one process owns a card")

        HpuBackend.__init__ = refuse


def plant_flips(faults: dict) -> None:
    """Flip one bit of a weight, an activation or an id, from a pass on or in it."""
    from w2v_core.engine.engine import Engine
    from w2v_core.engine.pipeline import Pipeline

    transcribe, decode, passes = Engine.transcribe, Pipeline._decode, []

    def is_due():
        return len(passes) == faults.get("pass", len(passes))

    def broken(self, utterances, **options):
        passes.append(self)
        if faults.get("weight") and is_due():
            mask = 1 << faults["bit"] if "bit" in faults else EXPONENT
            flip(self._forward.get_buffer(faults["weight"]), mask)
        if faults.get("activation") and is_due():
            flip_output_once(self._forward.get_submodule(faults["activation"]))
        return transcribe(self, utterances, **options)

    def flipped(self, batch, ids, started_s):
        for row, utterance in enumerate(batch.utterances):
            if utterance.utterance_id == faults.get("wrong") and is_due():
                ids = ids.copy()
                ids[row, FRAME] ^= 1
        return decode(self, batch, ids, started_s)

    Engine.transcribe, Pipeline._decode = broken, flipped


def plant_leak(faults: dict) -> None:
    """Keep so many bytes of each batch."""
    from w2v_core.engine.pipeline import Pipeline

    launch, kept = Pipeline._launch, []

    def leaking(self, batch):
        launch(self, batch)
        kept.append(bytes(faults["leak"]))

    if faults.get("leak"):
        Pipeline._launch = leaking


def flip(tensor, mask: int) -> None:
    """Flip one bit of its largest element."""
    import torch

    host = tensor.detach().cpu().clone().contiguous()
    flat = host.view(-1)
    flat.view(torch.int32)[int(flat.abs().argmax())] ^= mask
    with torch.no_grad():
        tensor.copy_(host)


def flip_output_once(module) -> None:
    """Flip the sign of an element of a module's next output."""

    def hook(_module, _inputs, output):
        flip(output, SIGN)
        handle.remove()

    handle = module.register_forward_hook(hook)


def main() -> int:
    simulate()
    module = os.environ["HABANA_VISIBLE_MODULES"]
    faults = json.loads(os.environ.get("W2V_PLANT", "{}")).get(module, {})
    if "once" in faults:  # the next process of this card is whole
        mark = Path(faults["once"]) / f"once-{module}"
        faults = {} if mark.exists() else faults
        mark.touch()
    if note := os.environ.get(NOTE):
        with (Path(note) / module).open("w") as file:
            file.write(str(os.getpid()))
    for each in (plant, plant_flips, plant_leak):
        each(faults)
    from w2v_core.fleet.worker import main as work

    return work()


if __name__ == "__main__":
    sys.exit(main())

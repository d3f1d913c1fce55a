"""Stand-ins for the host's compilers: dynamo is real, what stands behind it costs nothing."""

import sys

import pytest

from w2v_core.backends import cpu, cpu_compilers
from w2v_core.backends.cpu_compilers import HostCompiler

NONE = "there is no compiler here"


def use(patch, backend):
    """Have the host compile by ``backend``; a text is why it cannot."""
    found = backend
    if not isinstance(backend, str):
        found = HostCompiler(name="stand-in 1", of=lambda inputs: backend, is_quick=True)
    use_found(patch, found)


def use_found(patch, found):
    """Have the host find this compiler, or this reason why there is none."""
    patch.setattr(cpu, "host_compiler", lambda dtype: found)


def choose(patch, name):
    """Have the host compile by ``openvino`` or ``inductor``, or by the stand-in without a name."""
    if not name:
        use(patch, as_traced)
        return
    if name == "inductor":
        patch.setitem(sys.modules, "openvino", None)
    found = cpu_compilers.host_compiler("float32")
    if isinstance(found, str) or not found.name.startswith(name):
        pytest.skip(f"{name} is not here: {found}")


def as_traced(graph, _inputs):
    """Run dynamo's graph by torch, as it was traced."""
    return graph.forward


def in_bfloat16(graph, _inputs):
    """Round what the graph is given to bfloat16, as OpenVINO does where it is not told better."""
    return lambda *inputs: graph.forward(*map(_rounded, inputs))


def _rounded(tensor):
    return tensor.bfloat16().float() if tensor.is_floating_point() else tensor

"""The compilers of the host: OpenVINO where it is installed, else inductor with a C++ compiler.

Which one compiles a dtype depends on what is installed and on the processor's class, never on how
fast one was.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import torch

from w2v_core.backends.compiled import Compiler
from w2v_core.errors import GraphError
from w2v_core.printable import shorten
from w2v_core.types import Dtype

PRECISIONS: dict[Dtype, str] = {"float32": "f32", "bfloat16": "bf16"}
"""OpenVINO's names. Left alone it computes a float32 model in bfloat16 where it can."""
PROBE = "#include <Python.h>\n#include <omp.h>\n"  # what inductor's kernels include
PROBE_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCompiler:
    """What compiles a step on the host."""

    name: str
    """With its version, for the record."""
    of: Callable[[Sequence[torch.Tensor]], Compiler]
    """Makes the compiler of a step, given the step's inputs."""
    is_quick: bool
    """Whether a small model's bucket costs a few seconds, so that the suite compiles unasked."""
    copies_weights: bool = False
    """Whether it packs the weights into constants of its own."""


def host_compiler(dtype: Dtype) -> HostCompiler | str:
    """Return the compiler of a dtype, or why there is none and what to install."""
    openvino = _why_no_openvino(dtype)
    if openvino is None:
        return HostCompiler(
            name=f"openvino {importlib.metadata.version('openvino')} {PRECISIONS[dtype]}",
            of=partial(OpenVino, PRECISIONS[dtype]),
            is_quick=True,
            copies_weights=True,
        )
    inductor = _why_no_inductor()
    if isinstance(inductor, HostCompiler):
        return inductor
    return f"a processor's graphs are compiled, and {openvino}, {inductor}"


def _why_no_openvino(dtype: Dtype) -> str | None:
    if importlib.util.find_spec("openvino") is None:
        return "OpenVINO is not installed (pip install 'w2v-core[openvino]')"
    if dtype == "float32" or "BF16" in _openvino_capabilities():
        return None
    return "OpenVINO computes no bfloat16 on this processor"


@lru_cache(maxsize=1)
def _openvino_capabilities() -> tuple[str, ...]:
    import openvino

    return tuple(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


@lru_cache(maxsize=1)
def _why_no_inductor() -> HostCompiler | str:
    """Try the C++ compiler once a process; returns inductor, or why it cannot be used."""
    compiler = os.environ.get("CXX", "g++")  # inductor's own choice
    if shutil.which(compiler) is None:
        return f"inductor has no C++ compiler ({compiler}; install g++ and Python's headers)"
    include = f"-I{sysconfig.get_paths()['include']}"
    command = [compiler, "-fsyntax-only", "-fopenmp", include, "-x", "c++", "-"]
    tried = _run(command, PROBE)
    if tried is None or tried.returncode:
        why = shorten(" ".join(tried.stderr.split()), 200) if tried else "it does not answer"
        return (
            f"{compiler} cannot compile for inductor ({why}; install Python's headers, "
            "python3-dev, and OpenMP's)"
        )
    version = _run([compiler, "-dumpfullversion"], "")
    number = version.stdout.strip() if version else ""
    return HostCompiler(
        name=f"inductor, {Path(compiler).name} {number}".rstrip(),
        of=lambda _inputs: "inductor",
        is_quick=False,
    )


def _run(command: list[str], text: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


class OpenVino:
    """dynamo's graph to an OpenVINO program: all of it, or an error.

    OpenVINO's own backend of ``torch.compile`` hands what it cannot convert to torch or to inductor
    and says nothing, hence this one.
    """

    def __init__(self, precision: str, inputs: Sequence[torch.Tensor]) -> None:
        """Compute products in ``precision``, ``f32`` or ``bf16``; ``inputs`` are the step's."""
        self._precision = precision
        self._inputs = inputs
        self._weights: list[torch.Tensor] | None = None

    def __call__(
        self, graph: torch.fx.GraphModule, tensors: list[torch.Tensor]
    ) -> Callable[..., tuple[torch.Tensor, ...]]:
        """Convert and compile for the tensors' shapes; the next run overwrites the result.

        Args:
            graph: Its placeholders stand for ``tensors``, in their order.
            tensors: The step's inputs, and its weights: dynamo makes inputs of them, and here they
                become constants, which OpenVINO packs.

        Raises:
            GraphError: OpenVINO would compute in another precision than it was told.
        """
        import openvino

        if self._weights is None:  # a later call compiles for other inputs
            self._weights = [t for t in tensors if not _is_among(t, self._inputs)]
        places = [k for k, t in enumerate(tensors) if not _is_among(t, self._weights)]
        _bind(graph, tensors, variable=places)
        examples = tuple(torch.zeros_like(tensors[k]) for k in places)
        # Exported, not traced: a trace runs the step twice, and what it allocates stays.
        model = openvino.convert_model(torch.export.export(graph, examples))
        program = openvino.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": self._precision,
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "PERFORMANCE_HINT": "LATENCY",
            },
        )
        taken = program.get_property("INFERENCE_PRECISION_HINT").to_string()
        if taken != self._precision:
            raise GraphError(f"OpenVINO computes in {taken} where {self._precision} was asked for")
        request = program.create_infer_request()

        def run(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            given = [tensors[k].numpy() for k in places]
            found = request.infer(given, share_inputs=True, share_outputs=True)
            return tuple(torch.from_numpy(found[output]) for output in program.outputs)

        return run


def _is_among(tensor: torch.Tensor, others: Sequence[torch.Tensor]) -> bool:
    return any(tensor is other for other in others)


def _bind(
    graph: torch.fx.GraphModule, tensors: Sequence[torch.Tensor], *, variable: Sequence[int]
) -> None:
    """Replace all placeholders but the ``variable`` ones by their tensors."""
    holders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    for place, (holder, tensor) in enumerate(zip(holders, tensors, strict=True)):
        if place in variable:
            continue
        graph.register_buffer(name := f"constant_{place}", tensor.detach())
        with graph.graph.inserting_before(holder):
            constant = graph.graph.get_attr(name)
        holder.replace_all_uses_with(constant)
        graph.graph.erase_node(holder)
    graph.recompile()

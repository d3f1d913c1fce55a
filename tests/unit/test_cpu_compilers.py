"""Which compiler a processor's graphs have, or one sentence that says what to install."""

import stat
import sys

import pytest

from w2v_core.backends import cpu_compilers
from w2v_core.backends.cpu import CpuBackend
from w2v_core.backends.cpu_compilers import HostCompiler, host_compiler
from w2v_core.config import BatchPlan, EngineConfig, form_plan
from w2v_core.engine.bucketing import PACKED_PARAMETERS, resolve_plan
from w2v_core.errors import ConfigError


@pytest.fixture(autouse=True)
def no_openvino(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    cpu_compilers._why_no_inductor.cache_clear()
    yield
    cpu_compilers._why_no_inductor.cache_clear()


@pytest.fixture
def openvino(monkeypatch):
    """Be a host where OpenVINO is installed and can compute these."""

    def install(*capabilities):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
        monkeypatch.setattr("importlib.metadata.version", lambda name: "2026.4.1")
        monkeypatch.setattr(cpu_compilers, "_openvino_capabilities", lambda: capabilities)

    return install


def test_without_any_compiler_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")

    reason = host_compiler("float32")

    assert "pip install 'w2v-core[openvino]'" in reason
    assert "no-such-compiler; install g++ and Python's headers" in reason
    assert "\n" not in reason


def test_a_compiler_that_cannot_compile_is_none(monkeypatch, tmp_path):
    """g++ without Python's headers is the usual one."""
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\necho 'Python.h: No such file' >&2\nexit 1\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(broken))

    reason = host_compiler("float32")

    assert "cannot compile for inductor (Python.h: No such file; install" in reason


def test_openvino_comes_before_inductor(openvino):
    openvino("FP32")

    found = host_compiler("float32")

    assert isinstance(found, HostCompiler)
    assert found.name == "openvino 2026.4.1 f32"
    assert found.is_quick


def test_openvino_is_told_the_cells_dtype(openvino):
    openvino("FP32", "BF16")

    assert host_compiler("bfloat16").of(())._precision == "bf16"
    assert host_compiler("float32").of(())._precision == "f32"


def test_openvino_does_not_stand_in_for_bfloat16_where_it_has_none(openvino, monkeypatch):
    """It would compute in float32, and the cell would say bfloat16."""
    openvino("FP32")
    monkeypatch.setenv("CXX", "no-such-compiler")

    assert "OpenVINO computes no bfloat16 on this processor" in host_compiler("bfloat16")


@pytest.mark.parametrize(
    ("kind", "asked", "resolved"),
    [
        pytest.param("auto", None, "optimal-8x1", id="auto"),
        pytest.param("auto", 4, "optimal-8x4", id="rows-asked-for"),
        pytest.param("sorted", None, "sorted-1", id="plan-asked-for"),
    ],
)
def test_a_host_compiles_few_shapes_of_one_row_unless_others_are_asked_for(kind, asked, resolved):
    """More rows gain a processor nothing, and every compiled bucket keeps its activations."""
    plan = form_plan(kind, num_buckets=None, batch_size=asked)
    config = EngineConfig(graphs=True, plan=plan)

    found = resolve_plan(config, CpuBackend(), num_parameters=PACKED_PARAMETERS)

    assert str(found) == resolved


def test_packed_batches_cannot_be_captured():
    config = EngineConfig(graphs=True, plan=BatchPlan(kind="packed"))

    with pytest.raises(ConfigError, match="no static shape"):
        resolve_plan(config, CpuBackend(), num_parameters=1)

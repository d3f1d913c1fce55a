"""The processor's class, by which kernels are chosen, and whether it computes bfloat16."""

import pytest

from w2v_core.backends import processor


@pytest.fixture
def machine(monkeypatch):
    """Be a processor with these flags, held back by these variables."""

    def be(flags, held):
        monkeypatch.setattr(processor.Path, "read_text", lambda self: f"flags : {flags}")
        monkeypatch.setattr(processor.platform, "machine", lambda: "x86_64")
        for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"):
            monkeypatch.delenv(name, raising=False)
        for name, value in held.items():
            monkeypatch.setenv(name, value)

    return be


@pytest.mark.parametrize(
    ("flags", "held", "found"),
    [
        pytest.param("avx2", {}, "AVX2", id="avx2"),
        pytest.param("avx2 avx512f", {}, "AVX512", id="avx512"),
        pytest.param("avx2 avx512f avx512_bf16", {}, "AVX512-BF16", id="avx512-bf16"),
        pytest.param("avx2 avx512f avx512_bf16 amx_bf16", {}, "AMX", id="amx"),
        pytest.param(
            "avx2 avx512f avx512_bf16 amx_bf16",
            {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"},
            "AVX512-BF16",
            id="held-by-onednn",
        ),
        pytest.param(
            "avx2 avx512f avx512_bf16", {"ATEN_CPU_CAPABILITY": "avx2"}, "AVX2", id="held-by-aten"
        ),
        pytest.param("avx2", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"}, "AVX2", id="held-above"),
        pytest.param("sse4_2", {}, "x86_64", id="older"),
    ],
)
def test_the_class_is_the_best_that_may_be_used(machine, flags, held, found):
    machine(flags, held)

    assert processor.processor_class() == found


@pytest.mark.parametrize(
    ("flags", "held", "emulated"),
    [
        pytest.param("avx2 avx512f", {}, True, id="avx512"),
        pytest.param("avx2 avx512f avx512_bf16", {}, False, id="avx512-bf16"),
        pytest.param("avx2 amx_bf16", {}, False, id="amx"),
        pytest.param("avx2 amx_bf16", {"ONEDNN_MAX_CPU_ISA": "AVX2"}, True, id="held-back"),
    ],
)
def test_bfloat16_is_native_with_its_instructions(machine, flags, held, emulated):
    machine(flags, held)

    assert (processor.why_bfloat16_is_emulated() is not None) == emulated

"""Ours against the peers; only where ``--benchmark-only`` asks for it."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DEFAULT_UTTERANCES = 12  # about 90 s of audio; --limit takes another number
TIMED = (
    "Timed from waveforms in memory to transcripts, median of interleaved rounds; "
    "RTFx = audio seconds per wall second."
)
COLUMNS = (
    *("variant", "RTFx", "RTFx of processor time", "ratio to seed", "fraction of peak"),
    *("transcripts equal", "spread"),
)
TABLE = pytest.StashKey[dict]()


def pytest_collection_modifyitems(config, items):
    """A plain ``pytest`` times nothing here, and does not pay for it."""
    if config.getoption("benchmark_only", default=False):
        return
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("benchmark"):
            item.add_marker(
                pytest.mark.skip(reason="timing: --benchmark-enable --benchmark-only runs it")
            )


@pytest.fixture(scope="session")
def table(request):
    """Rounds of all selected variants, interleaved, and the rows made of them."""
    from tests.benchmarks.measure import gemm_peaks, machine_line, measure_interleaved, rows_of
    from tests.benchmarks.variants import BASELINE, REFERENCE, VARIANTS
    from tests.benchmarks.workload import make_workload
    from w2v_core.backends.cpu import keep_freed_memory

    config = request.config
    # The same for all: no page faults on freed memory, and room for every variant's kernels, which
    # evict each other otherwise (oneDNN keeps 1,024).
    keep_freed_memory()
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16384")
    size = config.getoption("--models") or "base"  # or large
    workload = make_workload(config.getoption("--limit") or DEFAULT_UTTERANCES, size=size)
    selected = {
        item.callspec.params["variant"].name
        for item in request.session.items
        if hasattr(item, "callspec") and "variant" in item.callspec.params
    }
    chosen = [
        variant
        for variant in VARIANTS
        if variant.name in {*selected, BASELINE, REFERENCE} and not variant.missing
    ]
    # Of a dtype that is emulated no variant is chosen, and its products would take minutes.
    peaks = gemm_peaks(variant.dtype for variant in chosen)
    measured = measure_interleaved(workload, chosen, rounds=config.getoption("--rounds"))
    rows = rows_of(measured, workload, peaks)
    config.stash[TABLE] = {
        "machine": machine_line(peaks),
        "model": size,
        "audio_s": workload.audio_s,
        "peak_flops_per_s": peaks,
        "rows": [{**asdict(row), "rounds_s": measured[row.variant].rounds_s} for row in rows],
    }
    return config.stash[TABLE]


def pytest_terminal_summary(terminalreporter, config):
    """Print the table and write it to the reports directory."""
    found = config.stash.get(TABLE, None)
    if found is None:
        return
    folder = Path(config.getoption("--reports-dir")) / config.getoption("--release")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    lines = markdown(found)
    (folder / "benchmarks.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    terminalreporter.section("ours against the peers")
    for line in lines:
        terminalreporter.line(line)


def markdown(found):
    """Return the table's lines; numbers to three digits."""
    return [
        found["machine"],
        f"Model of {found['model']} size, {found['audio_s']:.1f} s of audio. {TIMED}",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
        *(
            f"| {row['variant']} | {row['rtfx']:.3g} | {row['processor_rtfx']:.3g} "
            f"| {row['ratio_to_seed']:.3g} "
            f"| {row['fraction_of_peak']:.1%} | {row['transcripts_equal']}/"
            f"{row['num_utterances']} | {row['spread']:.0%} |"
            for row in found["rows"]
        ),
    ]

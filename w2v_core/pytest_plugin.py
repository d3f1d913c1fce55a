"""pytest options, fixtures and hooks of the suite. Importing it imports no torch."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest

from w2v_core.bench.cells import Cell, form_cells
from w2v_core.bench.record import CellRecord, to_json
from w2v_core.config import (
    DEVICES,
    FORWARDS,
    PLAN_KINDS,
    BatchPlan,
    DeviceChoice,
    parse_choice,
    parse_count,
    parse_plan,
)
from w2v_core.errors import W2VError
from w2v_core.report.tables import matrix
from w2v_core.types import DTYPES, parse_dtype
from w2v_core.validation import RunConfig, ValidationRun

if TYPE_CHECKING:
    from w2v_core.bench.measure import Round
    from w2v_core.types import Transcription

__all__ = ["pytest_addoption"]

RUN = pytest.StashKey[ValidationRun]()
DEVICE_MARKS = ("hpu", "cuda")
Measure = Callable[[Cell], CellRecord]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suite's options."""
    group = parser.getgroup("w2v", "Wav2Vec2 validation suite")
    add = group.addoption
    add("--device", default="auto", help=f"one of {', '.join(DEVICES)}; missing is an error")
    add("--models", default=None, help="comma-separated: canary-base, base, large, DIR, owner/name")
    add("--dtypes", default=",".join(DTYPES), help="comma-separated: float32, bfloat16")
    add("--datasets", default=None, help="canary-speech, test-clean, librispeech:PATH ...")
    add("--data-path", default=None, help="a LibriSpeech folder; short for librispeech:PATH")
    add("--graphs", default=None, help="on, off or both; default: whatever the device can do")
    add("--forwards", default="exact", help="comma-separated: exact, stock")
    add("--autocast", action="store_true", help="autocast instead of bfloat16 weights")
    add("--limit", type=int, default=None, help="first N utterances of each set; no WER verdict")
    add("--rounds", type=int, default=3, help="timed rounds over the whole set (default 3)")
    add("--buckets", type=int, default=None, help="static lengths (default: up to 8)")
    add("--batch-size", type=int, default=BatchPlan().batch_size, help="rows of a batch")
    add("--batch-plan", default="auto", help=f"one of {', '.join(PLAN_KINDS)}")
    add("--allow-partial", action="store_true", help="exclude transcripts that have no audio")
    add("--reports-dir", default="reports", help="where summaries go (default reports/)")
    add("--release", default="dev", help="name of the release under test, e.g. 1.24.0.1007")


def pytest_configure(config: pytest.Config) -> None:
    """Parse the options once; a device that was asked for and is missing ends the session."""
    try:
        config.stash[RUN] = ValidationRun(_run_config(config))
        parse_count("--rounds", config.getoption("--rounds"))
        _plan(config)
        _models(config)
        _datasets(config)
        device = config.stash[RUN].config.device
        if device != "auto":
            _require(device)
    except W2VError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise ``cell`` over the matrix that the options ask for."""
    if "cell" not in metafunc.fixturenames:
        return
    try:
        cells = _cells(metafunc.config)
        name = metafunc.config.stash[RUN].backend.name
    except W2VError as error:
        raise pytest.UsageError(str(error)) from error
    device_mark = getattr(pytest.mark, name)
    metafunc.parametrize(
        "cell", [pytest.param(cell, id=str(cell), marks=device_mark) for cell in cells]
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip tests of a device that this session does not run on, with the reason."""
    device = config.stash[RUN].config.device
    for mark in DEVICE_MARKS:
        concerned = [item for item in items if item.get_closest_marker(mark) is not None]
        if not concerned or device == mark:
            continue
        reason = _missing(mark) if device == "auto" else f"the session runs on {device}"
        if reason is not None:
            for item in concerned:
                item.add_marker(pytest.mark.skip(reason=f"no {mark}: {reason}"))


@pytest.fixture(scope="session")
def validation_run(pytestconfig: pytest.Config) -> Iterator[ValidationRun]:
    """The run of this session; its reports are written when the last cell is done."""
    run = pytestconfig.stash[RUN]
    _ = run.directory  # a reports directory that cannot be written is an error now, not at the end
    yield run
    run.write()


@pytest.fixture
def measure(
    benchmark: Any,  # noqa: ANN401 - pytest-benchmark is untyped
    pytestconfig: pytest.Config,
    validation_run: ValidationRun,
) -> Measure:
    """Measure a cell with ``benchmark.pedantic``; its record goes to ``extra_info`` and reports."""

    def measure_cell(cell: Cell) -> CellRecord:
        reason = validation_run.backend.graphs_unsupported
        if cell.graphs and reason is not None:
            pytest.skip(f"{cell} needs graphs: {reason}")
        rounds = pytestconfig.getoption("--rounds")
        record = validation_run.measure(
            cell, timer=lambda run: _time_by_benchmark(benchmark, run, rounds=rounds)
        )
        benchmark.extra_info.update(extra_info(record))
        return record

    return measure_cell


def extra_info(record: CellRecord) -> dict[str, Any]:
    """Return what ``--benchmark-json`` carries: the figures flat, and the whole record."""
    document = to_json(record)
    flat = {k: v for k, v in document["record"].items() if k not in ("scores", "environment")}
    flat["record"] = document
    return flat


def _time_by_benchmark(
    benchmark: Any,  # noqa: ANN401 - pytest-benchmark is untyped
    run: Callable[[], Transcription],
    *,
    rounds: int,
) -> Sequence[Round]:
    from w2v_core.bench.measure import Round

    passes: list[Transcription] = []
    benchmark.pedantic(lambda: passes.append(run()), rounds=rounds, iterations=1)
    stats = benchmark.stats
    walls = [p.wall_s for p in passes] if stats is None else list(stats.stats.data)
    return [Round(transcription=p, wall_s=w) for p, w in zip(passes, walls, strict=True)]


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    """Put the fingerprint into the benchmark JSON."""
    run = config.stash[RUN]
    if run.records:
        machine_info["fingerprint"] = run.environment


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """End with the matrix and where the reports are."""
    run = config.stash[RUN]
    if not run.records:
        return
    valid = sum(r.valid for r in run.records)
    terminalreporter.section(f"{valid} of {len(run.records)} cells valid")
    text = matrix(run.records).to_markdown(index=False, tablefmt="simple", disable_numparse=True)
    terminalreporter.write_line(text)
    terminalreporter.write_line(f"reports: {run.directory}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a session that asked for a device and ran no test on it."""
    device = session.config.stash[RUN].config.device
    collected_only = session.config.getoption("collectonly")
    if device not in DEVICE_MARKS or collected_only or session.exitstatus != pytest.ExitCode.OK:
        return
    ran = [i for i in session.items if i.get_closest_marker(device) is not None]
    if not ran:
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


def _run_config(config: pytest.Config) -> RunConfig:
    limit = config.getoption("--limit")
    if limit is not None:
        parse_count("--limit", limit)
    arguments = [Path(sys.argv[0]).name, *config.invocation_params.args]
    return RunConfig(
        device=_device(config),
        limit=limit,
        allow_partial=config.getoption("--allow-partial"),
        release=config.getoption("--release"),
        reports_dir=Path(config.getoption("--reports-dir")),
        command=shlex.join(str(a) for a in arguments),
    )


def _device(config: pytest.Config) -> DeviceChoice:
    """Return the device asked for: ``--device``, or the one that ``-m`` names."""
    choice = parse_choice("device", config.getoption("--device"), DEVICES)
    if choice != "auto":
        return choice
    expression = str(config.getoption("markexpr", "") or "").split()
    named = [mark for mark in DEVICE_MARKS if expression == [mark]]
    return cast("DeviceChoice", named[0]) if named else "auto"


def _plan(config: pytest.Config) -> BatchPlan:
    return parse_plan(
        config.getoption("--batch-plan"),
        num_buckets=config.getoption("--buckets"),
        batch_size=config.getoption("--batch-size"),
    )


def _cells(config: pytest.Config) -> tuple[Cell, ...]:
    models = _models(config) or [(m, m.replace("-", "_")) for m in _default_models()]
    defaults = _default_datasets([model for model, _ in models])
    return form_cells(
        models=models,
        dtypes=[parse_dtype(d) for d in _split(config.getoption("--dtypes"))],
        datasets=_datasets(config) or [(d, d.replace("-", "_")) for d in defaults],
        graphs=_graphs(config),
        forwards=[
            parse_choice("forward", f, FORWARDS) for f in _split(config.getoption("--forwards"))
        ],
        plan=_plan(config),
        autocast=config.getoption("--autocast"),
    )


def _models(config: pytest.Config) -> list[tuple[str, str]]:
    """Return the models asked for, each with its name within a cell's id."""
    from w2v_core.model.catalog import parse_model

    return [(m, parse_model(m).cell_name) for m in _split(config.getoption("--models"))]


def _datasets(config: pytest.Config) -> list[tuple[str, str]]:
    """Return the datasets asked for, each with its name within a cell's id."""
    from w2v_core.data.catalog import parse_dataset

    names = _split(config.getoption("--datasets"))
    if config.getoption("--data-path"):
        names.append(f"librispeech:{config.getoption('--data-path')}")
    return [(d, parse_dataset(d).text) for d in names]


def _graphs(config: pytest.Config) -> tuple[bool, ...]:
    choices: dict[str, tuple[bool, ...]] = {"on": (True,), "off": (False,), "both": (False, True)}
    text = config.getoption("--graphs")
    if text is None:
        backend = config.stash[RUN].backend
        text = "both" if backend.graphs_unsupported is None else "off"
    return choices[parse_choice("graphs", text, ("on", "off", "both"))]


def _default_models() -> list[str]:
    """Return the canaries, and the real checkpoints where they are cached."""
    from w2v_core.model.catalog import MODELS
    from w2v_core.model.loading import is_cached

    return [name for name, spec in MODELS.items() if is_cached(spec)]


def _default_datasets(models: Sequence[str]) -> list[str]:
    """Return canary-speech, and the hub's sets where they are cached and a real model runs."""
    from w2v_core.data.catalog import DATASETS

    real = any(not m.startswith("canary-") for m in models)
    return [s.name for s in DATASETS if s.is_available() and (real or not s.needs_hub)]


def _split(text: str | None) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()] if text else []


def _require(device: DeviceChoice) -> None:
    from w2v_core.errors import DeviceError

    reason = _missing(device)
    if reason is not None:
        raise DeviceError(f"device {device} was asked for and is missing: {reason}")


def _missing(device: Literal["hpu", "cuda", "cpu"] | str) -> str | None:
    from w2v_core.engine.devices import available_devices

    return available_devices()[cast("DeviceChoice", device)]

"""D7: a figure that nobody writes is a column that is always empty."""

from tests.unit.test_power import Steady
from w2v_core.backends.hpu_environment import RECIPE_CACHE
from w2v_core.config import BatchPlan
from w2v_core.records.cell import form_cells
from w2v_core.records.fields import FIGURES
from w2v_core.report.tables import summary
from w2v_core.session import RunConfig, ValidationRun

(CELL,) = form_cells(
    models=[("canary-base", "canary_base")],
    dtypes=["float32"],
    datasets=[("canary-speech", "canary_speech")],
    graphs=[False],
    forwards=["exact"],
    plan=BatchPlan(kind="optimal", num_buckets=1, batch_size=1),
)


def measured(reports, *, device, starts=1, backend=None):
    """Records of as many runs, measured as pytest and ``w2v run`` do."""
    from w2v_core.bench.rounds import time_rounds

    for _ in range(starts):
        run = ValidationRun(RunConfig(device=device, limit=2, reports_dir=reports))
        if backend is not None:
            run.backend = backend
        yield run.measure(CELL, timer=time_rounds(1))


def test_every_column_of_a_figure_is_written_by_a_real_measurement(
    hpu_backend, monkeypatch, tmp_path
):
    """By the host with a sensor, or by the simulated Gaudi at its second start."""
    monkeypatch.setattr("w2v_core.bench.energy.find_sensor", lambda *_args, **_options: Steady())
    monkeypatch.setenv(RECIPE_CACHE, f"{tmp_path / 'recipes'},false,64")
    records = [
        *measured(tmp_path, device="cpu"),
        *measured(tmp_path, device="hpu", starts=2, backend=hpu_backend),
    ]
    written = summary(records).notna().any()

    assert [name for name in FIGURES if not written[name]] == []

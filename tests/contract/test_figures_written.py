"""D7: a figure that nobody writes is a column that is always empty."""

import pytest

from tests import hpusim
from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.speech import write_chapter
from tests.unit.test_power import Steady
from w2v_core.backends.hpu_environment import RECIPE_CACHE
from w2v_core.backends.hpu_probe import load_bridge
from w2v_core.config import BatchPlan
from w2v_core.records.cell import form_cells
from w2v_core.records.fields import FIGURES
from w2v_core.report.tables import summary
from w2v_core.session import RunConfig, ValidationRun


def measured(reports, *, device, model, dataset, starts=1, backend=None):
    """Records of as many runs, measured as pytest and ``w2v run`` do."""
    from w2v_core.bench.rounds import time_rounds

    (cell,) = form_cells(
        models=[(model, "model")],
        dtypes=["float32"],
        datasets=[(dataset, "set")],
        graphs=[False],
        forwards=["exact"],
        plan=BatchPlan(kind="optimal", num_buckets=1, batch_size=1),
    )
    for _ in range(starts):
        run = ValidationRun(RunConfig(device=device, limit=1, reports_dir=reports))
        if backend is not None:
            run.backend = backend
        yield run.measure(cell, timer=time_rounds(1))


@pytest.mark.usefixtures("simulator")
def test_every_column_of_a_figure_is_written_by_a_real_measurement(monkeypatch, tmp_path):
    """By the host with a sensor, or by the simulated Gaudi at its second start."""
    from w2v_core.backends.hpu import HpuBackend

    monkeypatch.setattr("w2v_core.bench.energy.find_sensor", lambda *_args, **_options: Steady())
    monkeypatch.setenv(RECIPE_CACHE, f"{tmp_path / 'recipes'},false,64")
    reports = tmp_path / "reports"
    records = list(measured(reports, device="cpu", model="canary-base", dataset="canary-speech"))
    model = str(write_checkpoint(tmp_path / "tiny"))
    write_chapter(tmp_path / "speech", {"7-1-0000": "A WORD"})
    speech = f"librispeech:{tmp_path / 'speech'}"
    with hpusim.fresh(hpusim.Config(cache_metrics=True)):  # as prepare_environment() asks for it
        card = HpuBackend(load_bridge())
        records += measured(
            reports, device="hpu", model=model, dataset=speech, starts=2, backend=card
        )
    written = summary(records).notna().any()

    assert [name for name in FIGURES if not written[name]] == []

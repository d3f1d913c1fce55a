"""``pytest --execution both``: a session a mode, each in a process of its own. Imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from w2v_core.backends.hpu_environment import Execution
from w2v_core.commands.modes import BOTH, measure_both
from w2v_core.errors import ConfigError, W2VError
from w2v_core.pytest_options import given, run_config_of, usage_error

FILES = {"--benchmark-json": "benchmark_json", "--junit-xml": "xmlpath"}
"""Options that name one file a session, and where pytest keeps what they were given."""


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Run both modes in place of this session; the status is the first that is not 0."""
    try:
        if given(config)["execution"] != BOTH:
            return None
        run = run_config_of(config)
        if run.device != "hpu":
            raise ConfigError(
                f"--execution both is for hpu, and this session is for {run.device}; "
                "add -m hpu, or leave it out"
            )
        simulated = config.getoption("--simulate-hpu", default=False)
        return measure_both(
            lambda execution: _command(config, execution),
            reports_dir=run.reports_dir,
            family="fork" if simulated else None,
        )
    except W2VError as error:
        raise usage_error(error) from error


def _command(config: pytest.Config, execution: Execution) -> Sequence[str]:
    """Return this session's command line for one mode; of two equal options the last one counts."""
    files = [
        f"{option}={_name(str(name), execution)}"
        for option, dest in FILES.items()
        if (name := config.getoption(dest, default=None)) is not None
    ]
    arguments = map(str, config.invocation_params.args)
    return [sys.executable, "-m", "pytest", *arguments, "--execution", execution, *files]


def _name(file: str, execution: Execution) -> str:
    """Put the mode before the suffix: ``out.json`` -> ``out.lazy.json``."""
    path = Path(file)
    return str(path.with_name(f"{path.stem}.{execution}{path.suffix}"))

"""``pytest --cards``: ``w2v fleet`` by the session's options, in place of it. Imports no torch.

A session has one process, and a card needs one of its own, so the cells are measured by the fleet:
its page, verdict and exit code are what the session ends with.
"""

from __future__ import annotations

import shlex
import sys

import pytest

from w2v_core.cli import main
from w2v_core.errors import ConfigError, W2VError
from w2v_core.options.option import PYTEST, options_of
from w2v_core.pytest_benchmarks import OUTPUTS
from w2v_core.pytest_options import given, run_config_of, usage_error

ONE_SESSION = {
    "keyword": "-k",
    "deselect": "--deselect",
    "collectonly": "--collect-only",
    "numprocesses": "-n",
    "xmlpath": "--junit-xml",
    "htmlpath": "--html",
    **{f"benchmark_{name.replace('-', '_')}": f"--benchmark-{name}" for name in OUTPUTS},
}
"""What is about the items of a session, by where pytest keeps it; a fleet has none."""


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Measure on many cards where ``--cards`` is given; returns the fleet's exit code."""
    try:
        if given(config)["cards"] is None:
            return None
        _refuse_what_is_one_sessions(config)
        sys.argv = ["w2v", "fleet", *_flags(config)]  # the records name it as their command
    except W2VError as error:
        raise usage_error(error) from error
    sys.stderr.write(f"pytest: only cells are measured on many cards, by: {shlex.join(sys.argv)}\n")
    return main(sys.argv[1:])


def _refuse_what_is_one_sessions(config: pytest.Config) -> None:
    """Raise ConfigError where something is given that the fleet could not hold."""
    ours = options_of(PYTEST).items()
    fleets = options_of("fleet")
    only = {o.on[PYTEST].dest: o.on[PYTEST].shown for name, o in ours if name not in fleets}
    defaults = {o.on[PYTEST].dest: o.default_on(PYTEST) for _, o in ours}
    for dest, flag in {**only, **ONE_SESSION}.items():
        value = config.getoption(dest, default=None)
        if value and value != defaults.get(dest):
            raise ConfigError(
                f"{flag} is for a session, which measures one card; leave it out, or leave out "
                "{flag:cards} (a fleet's page, fleet.json and verdict.json hold its cards)",
            )


def _flags(config: pytest.Config) -> list[str]:
    """Return the flags of ``w2v fleet`` that say what this session was given."""
    found = ["--device", run_config_of(config).device]
    fleets = options_of("fleet")
    for name, option in options_of(PYTEST).items():
        flag = option.on[PYTEST]
        value = config.getoption(flag.dest)
        if name == "device" or name not in fleets or value in (option.default_on(PYTEST), None):
            continue
        shown = fleets[name].on["fleet"].shown
        found += [shown] if option.is_switch(flag) else [f"{shown}={value}"]
    return found

"""What pytest finds of an installed w2v_core: the suite's plugin, where the suite is asked for.

The plugin's options have names like ``--device``, which other projects' plugins have too, so no
other session gets them.
"""

from __future__ import annotations

import pytest

SUITE = "w2v_core.suite"
PLUGINS = ("w2v_core.pytest_plugin", "w2v_core.pytest_modes", "w2v_core.pytest_cards")


def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Load the plugin before its options are parsed: ``pytest --pyargs w2v_core.suite``."""
    if any(argument.startswith(SUITE) for argument in args):
        for plugin in PLUGINS:
            early_config.pluginmanager.import_plugin(plugin)


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Load what a checkout's pytest.ini loads."""
    pluginmanager.import_plugin("w2v_core.pytest_clock")

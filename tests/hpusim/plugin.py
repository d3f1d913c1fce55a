"""Installs the simulated device for a whole pytest session."""

from __future__ import annotations

import os

from tests.hpusim.config import Config, from_environment
from tests.hpusim.install import install
from tests.hpusim.runtime import Runtime

__all__ = ["install_for_session"]


def install_for_session(config: Config | None = None) -> Runtime:
    """Put a simulated Gaudi into this process; call before test modules are collected.

    Without a configuration it is read from the environment, as the bridge does at import: set
    PT_HPU_LAZY_MODE and its like before.

    Raises:
        SimError: a real bridge is loaded.
    """
    return install(config or from_environment(os.environ))

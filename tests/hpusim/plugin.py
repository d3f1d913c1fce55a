"""Installs the simulated device for a whole pytest session."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from tests.hpusim.config import Config, from_environment
from tests.hpusim.installation import install
from tests.hpusim.runtime import Runtime

OP_S, REPLAY_S = 1e-3, 2e-3  # virtual seconds

__all__ = ["install_for_session", "session_config"]


def install_for_session(config: Config | None = None) -> Runtime:
    """Put a simulated Gaudi into this process; call before test modules are collected.

    Without a configuration it is read from the environment, as the bridge does at import: set
    PT_HPU_LAZY_MODE and its like before.

    Raises:
        SimError: a real bridge is loaded.
    """
    return install(config or session_config(os.environ))


def session_config(environ: Mapping[str, str]) -> Config:
    """Return the device of a session: the bridge's flags, and work that takes time.

    Without latency every event has passed at its first query, no two batches are ever in flight,
    and a real race passes the whole matrix.
    """
    flags = from_environment(environ)
    return replace(flags, latency=lambda _op, _bytes: OP_S, replay_s=REPLAY_S)

"""``w2v`` on a simulated Gaudi or on this host, many commands in one process with one torch.

Reads ``{"commands": [[...], ...], "test_count": N, "simulate": true}`` as JSON on stdin; prints a
JSON list of ``{"code", "out", "err"}``. ``test_count`` is how many utterances test-clean has here.
The host compiles its graphs by a stand-in, which costs nothing.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from w2v_core.backends.hpu_environment import prepare_environment
from w2v_core.data import hub


def simulate() -> None:
    """Put a simulated Gaudi with both execution modes into this process."""
    prepare_environment(family="fork")

    from tests.hpusim.plugin import install_for_session

    install_for_session()


def compile_here() -> None:
    """Have graphs of this host compiled by dynamo alone."""
    from tests.helpers import compilers

    compilers.use(pytest.MonkeyPatch(), compilers.as_traced)


def run(command: list[str]) -> dict[str, Any]:
    """Run one command and return how it ended."""
    from w2v_core.cli import main

    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["w2v", *command]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(command)
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def main() -> None:
    asked = json.load(sys.stdin)
    test = replace(hub.CORPORA["test-clean"], expected_count=asked["test_count"])
    hub.CORPORA = MappingProxyType({**hub.CORPORA, "test-clean": test})
    (simulate if asked["simulate"] else compile_here)()
    json.dump([run(command) for command in asked["commands"]], sys.stdout)


if __name__ == "__main__":
    main()

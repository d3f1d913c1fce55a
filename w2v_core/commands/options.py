"""What the commands share: their parser, their numbers, and the device's environment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from w2v_core._moved import names_of
from w2v_core.backends.hpu_environment import (
    EXECUTIONS,
    LAZY_MODE,
    TorchFamily,
    bridge_installed,
    hold_bridge,
    prepare_environment,
    set_up_profiler,
)
from w2v_core.commands.parser import EXIT_CODES, INPUT_ERROR, USAGE_ERROR
from w2v_core.config import parse_choice
from w2v_core.errors import ConfigError

if TYPE_CHECKING:
    from w2v_core.config import DeviceChoice

__all__ = ["EXIT_CODES", "INPUT_ERROR", "USAGE_ERROR", "prepare_device", "require_text"]


def require_text(**named: str | None) -> None:
    """Refuse options that are given and empty, as an unset shell variable leaves them.

    Raises:
        ConfigError: naming the first of them.
    """
    for name, text in named.items():
        if text is not None and not text.strip():
            raise ConfigError(f"--{name} is empty; give a value, or leave the flag out")


def prepare_device(
    device: DeviceChoice,
    *,
    execution: str | None = None,
    profile: bool = False,
    debug: bool = False,
    family: TorchFamily | None = None,
    recipe_cache: str | None = None,
) -> None:
    """Set what a device's software reads when torch is imported; call before that.

    ``family`` is the installed torch's by default; a simulated bridge takes any.

    Raises:
        UnknownNameError: the execution mode is not known.
        DeviceError: the mode contradicts the environment, or the software has been loaded already.
    """
    mode = parse_choice("execution mode", execution, EXECUTIONS) if execution else None
    hold_bridge()
    if device == "hpu" or (device == "auto" and bridge_installed()):
        if profile and (problem := set_up_profiler()) is not None:
            sys.stderr.write(f"note: {problem}\n")
        chosen = prepare_environment(
            execution=mode,
            profile=profile,
            debug=debug,
            family=family,
            recipe_cache=Path(recipe_cache) if recipe_cache else None,
        )
        if mode is None and chosen.get(LAZY_MODE) == "0":
            sys.stderr.write("note: execution eager: stock torch has no lazy mode, no HPU graphs\n")


if not TYPE_CHECKING:
    __getattr__ = names_of("commands.options", ["commands.parser"])

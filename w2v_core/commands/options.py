"""What the commands share: how options are declared and read, and the device's environment."""

from __future__ import annotations

import argparse
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
from w2v_core.config import parse_choice
from w2v_core.errors import DeviceError
from w2v_core.options.option import Given

if TYPE_CHECKING:
    from w2v_core.config import DeviceChoice


def given(command: str, arguments: argparse.Namespace) -> Given:
    """Return what a command was given, each option parsed once, before anything is read.

    Raises:
        W2VError: a value cannot be meant; names the flag and the remedy.
    """
    options = Given(command, vars(arguments).get)  # show and acknowledge have a part of baseline's
    options.check()
    return options


def check_process() -> None:
    """Refuse to start torch where it or transformers would end the process with their own words.

    Raises:
        DeviceError: the working directory was deleted, or Python drops docstrings.
    """
    if sys.flags.optimize > 1:
        raise DeviceError(
            f"Python drops docstrings (PYTHONOPTIMIZE={sys.flags.optimize} or -OO), without which "
            "transformers does not load; unset it, or use -O at most"
        )
    try:
        Path.cwd()
    except OSError as error:
        raise DeviceError(
            f"the working directory is gone ({error.strerror}), and torch does not load without "
            "one; cd to a directory that exists"
        ) from error


def prepare_device(
    device: DeviceChoice,
    *,
    execution: str | None = None,
    profile: bool = False,
    debug: bool = False,
    family: TorchFamily | None = None,
    recipe_cache: Path | None = None,
) -> None:
    """Set what a device's software reads when torch is imported; call before that.

    ``family`` is the installed torch's by default; a simulated bridge takes any.

    Raises:
        UnknownNameError: the execution mode is not known.
        DeviceError: the mode contradicts the environment, the software has been loaded already, or
            it could not be loaded from here.
    """
    check_process()
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
            recipe_cache=recipe_cache,
        )
        if mode is None and chosen.get(LAZY_MODE) == "0" and bridge_installed():
            sys.stderr.write("note: execution eager: stock torch has no lazy mode, no HPU graphs\n")


if not TYPE_CHECKING:
    __getattr__ = names_of("commands.options", ["commands.parser"])

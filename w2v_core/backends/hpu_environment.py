"""What the Habana bridge reads once, at import: chosen, set and checked before torch is imported.

No torch here: the bridge may load itself while torch is imported (``PT_HPU_AUTOLOAD``), so the
variables have to stand before that, in a fresh process.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Collection, Mapping, MutableMapping
from typing import Literal, get_args

from w2v_core.errors import DeviceError

__all__ = [
    "EXECUTIONS",
    "Execution",
    "bridge_installed",
    "effective_environment",
    "only_visible_module",
    "prepare_environment",
]

Execution = Literal["lazy", "eager"]
EXECUTIONS: tuple[Execution, ...] = get_args(Execution)
BRIDGE = "habana_frameworks.torch"
_PREFIXES = (
    "PT_",  # PT_HPU_*, PT_HPUGRAPH_*, PT_ENABLE_*, the recipe cache of releases before 1.11
    "HABANA_",
    "HLS_",
    "LOG_LEVEL_",  # logging slows a run
    "ENABLE_CONSOLE",
    "GRAPH_VISUALIZATION",
)

_ALWAYS: Mapping[str, str] = {
    # The seed's two. Defaults since 1.19, needed before; kept so that old releases run alike.
    "PT_HPU_ENABLE_GENERIC_STREAM": "1",
    "PT_HPU_ENABLE_REFINE_DYNAMIC_SHAPES": "0",
    "PT_HPU_ENABLE_CACHE_METRICS": "1",  # without it there is no recipe_cache metric
}
_STRICT: Mapping[str, str] = {"PT_HPU_PLACE_ON_CPU": "none"}  # a fallback to the host raises
_QUIET: Mapping[str, str] = {"HABANA_PROFILE": "0"}  # unset, the import turns a profiler on
_PROFILE: Mapping[str, str] = {"HABANA_PROFILE": "1", "GRAPH_VISUALIZATION": "1"}
_DEBUG: Mapping[str, str] = {
    "ENABLE_CONSOLE": "true",
    "LOG_LEVEL_ALL": "3",  # 0 verbose to 6 off
    "LOG_LEVEL_PT_FALLBACK": "1",
}


def bridge_installed() -> bool:
    """Return whether ``habana_frameworks.torch`` can be found; imports nothing heavy.

    ``habana_frameworks`` alone is not enough: the media loader brings it without ``.torch``.
    """
    try:
        return importlib.util.find_spec(BRIDGE) is not None
    except (ImportError, ValueError):
        return False


def prepare_environment(
    *,
    execution: Execution | None = None,
    strict: bool = True,
    profile: bool = False,
    debug: bool = False,
    environ: MutableMapping[str, str] | None = None,
    loaded: Collection[str] | None = None,
) -> dict[str, str]:
    """Set the variables that the bridge reads at import; call before the first ``import torch``.

    A value that the user has set stays, except that the execution mode must not contradict it.

    Args:
        execution: ``lazy`` (HPU graphs) or ``eager`` (torch.compile); None keeps what
            PT_HPU_LAZY_MODE says, lazy where it says nothing.
        strict: Make a CPU fallback an error instead of a count.
        profile: The seed's ``--profile``: leave the SynapseAI profiler on.
        debug: The seed's ``--debug``: verbose logs on the console.
        environ: What to set; ``os.environ`` by default.
        loaded: Names of loaded modules; ``sys.modules`` by default.

    Returns:
        What was set.

    Raises:
        DeviceError: the mode contradicts the environment, or the bridge is loaded already.
    """
    environ = os.environ if environ is None else environ
    loaded = sys.modules if loaded is None else loaded
    given = environ.get("PT_HPU_LAZY_MODE")
    if execution is None:
        execution = "eager" if given == "0" else "lazy"
    lazy = "1" if execution == "lazy" else "0"
    if given is not None and given != lazy:
        raise DeviceError(
            f"execution {execution!r} was asked for, but PT_HPU_LAZY_MODE is {given!r} in the "
            "environment; unset it or ask for the other mode"
        )
    wanted = {"PT_HPU_LAZY_MODE": lazy, **_ALWAYS, **(_PROFILE if profile else _QUIET)}
    wanted.update(_STRICT if strict else {})
    wanted.update(_DEBUG if debug else {})
    missing = {name: value for name, value in wanted.items() if name not in environ}
    if missing and BRIDGE in loaded:
        names = ", ".join(sorted(missing))
        raise DeviceError(
            f"{BRIDGE} is loaded already and has read its environment; {names} must be set before "
            "torch is imported: use a fresh process"
        )
    environ.update(missing)
    return missing


def only_visible_module(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the module id of the card that the environment leaves no choice about."""
    environ = os.environ if environ is None else environ
    for name in ("HLS_MODULE_ID", "HABANA_VISIBLE_MODULES"):
        if environ.get(name, "").isdigit():
            return environ[name]
    return None


def effective_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that configure the bridge, for the record."""
    environ = os.environ if environ is None else environ
    return {name: environ[name] for name in sorted(environ) if name.startswith(_PREFIXES)}

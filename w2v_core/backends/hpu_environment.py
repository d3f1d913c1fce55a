"""What the Habana bridge reads once, at import: chosen, set and checked before torch is imported.

No torch here. Since release 1.21 the bridge loads itself inside ``import torch`` (entry point
``torch.backends``) unless told not to, so the variables have to stand before that, in a fresh
process.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from w2v_core.errors import DeviceError
from w2v_core.system import version_of

Execution = Literal["lazy", "eager"]
EXECUTIONS: tuple[Execution, ...] = get_args(Execution)
TorchFamily = Literal["fork", "stock"]
"""Intel's own build of torch (image ``pytorch-installer``), or the one that everybody installs
(image ``pytorch-upstream-installer``), which the bridge takes in eager mode only."""
BRIDGE = "habana_frameworks.torch"
LAZY_MODE = "PT_HPU_LAZY_MODE"
AUTOLOAD = "PT_HPU_AUTOLOAD"
PROFILER_SET_UP = ("hl-prof-config", "--use-template", "profile_api", "--hw-trace", "off")
RECIPE_CACHE = "PT_HPU_RECIPE_CACHE_CONFIG"
RECIPE_CACHE_MB = 8192
MODULE_IDS = (
    "not the index that hl-smi counts by (index 1 can be module 4); "
    "`hl-smi -Q index,module_id,bus_id -f csv` lists both"
)
"""How a card is named; for messages."""
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
    # Its default in lazy mode patches Module.to, Module.__getattr__ and Parameter.__new__, for
    # which an inference engine has no use; vllm-gaudi sets 0 as well.
    "PT_HPU_WEIGHT_SHARING": "0",
}
_STRICT: Mapping[str, str] = {"PT_HPU_PLACE_ON_CPU": "none"}  # a fallback to the host raises
_QUIET: Mapping[str, str] = {"HABANA_PROFILE": "0"}  # unset, the import turns a profiler on
_PROFILE: Mapping[str, str] = {"HABANA_PROFILE": "1", "GRAPH_VISUALIZATION": "1"}
_DEBUG: Mapping[str, str] = {
    "ENABLE_CONSOLE": "true",
    "LOG_LEVEL_ALL": "3",  # 0 verbose to 6 off
    "LOG_LEVEL_PT_FALLBACK": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """The execution mode of a process, and why it is this one."""

    execution: Execution
    reason: str


def bridge_installed() -> bool:
    """Return whether ``habana_frameworks.torch`` can be found; imports nothing.

    ``habana_frameworks`` alone is not enough: the media loader brings it without ``.torch``.
    """
    if BRIDGE in sys.modules:
        return True
    parent, _, _ = BRIDGE.partition(".")
    found = importlib.machinery.PathFinder.find_spec(parent)
    if found is None or found.submodule_search_locations is None:
        return False
    places = list(found.submodule_search_locations)
    return importlib.machinery.PathFinder.find_spec(BRIDGE, places) is not None


def hold_bridge(environ: MutableMapping[str, str] | None = None) -> None:
    """Keep ``import torch`` from loading the bridge by itself; ``load_bridge`` loads it when due.

    Call it before anything can import torch. A value that the user has set stays.
    """
    environ = os.environ if environ is None else environ
    if bridge_installed():
        environ.setdefault(AUTOLOAD, "0")


def set_up_profiler(
    run: Callable[..., object] = subprocess.run,
    which: Callable[[str], str | None] = shutil.which,
) -> str | None:
    """Write the profiler's configuration as the vendor advises; call before the bridge is loaded.

    Returns:
        Why that failed; None where it was done, or the vendor's tools are not here.
    """
    if which(PROFILER_SET_UP[0]) is None:
        return None
    try:
        run(PROFILER_SET_UP, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{' '.join(PROFILER_SET_UP)}: {error}; the profile uses what is configured"
    return None


@contextlib.contextmanager
def vendor_warnings() -> Iterator[None]:
    """Ignore what others warn of, so that a filter ``error`` does not turn it into a failure.

    Warnings that point at this package are treated as outside.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(?!(w2v_core|tests)(\.|$))")
        yield


def torch_family(version: str | None = None) -> TorchFamily | None:
    """Tell the image family from torch's version, by default the installed one's; imports no torch.

    The local part of Intel's fork begins with ``git`` (1.19) or names ``hpu``
    (``2.6.0+hpu.1.21.0.555.git...``); the stock builds say ``cpu``, ``cu126`` or nothing.
    """
    version = version_of("torch") if version is None else version
    if version is None:
        return None
    local = version.partition("+")[2]
    return "fork" if re.search(r"(?:^|[._-])(?:hpu|git)", local) else "stock"


def choose_mode(asked: Execution | None, *, given: str | None, family: TorchFamily | None) -> Mode:
    """Choose what PT_HPU_LAZY_MODE shall say.

    Args:
        asked: What the user's options ask for.
        given: What the variable says already.
        family: Of the installed torch; None where that does not matter.

    Raises:
        DeviceError: options and environment contradict each other, or lazy is asked of a torch
            that has no lazy mode.
    """
    lazy = {"lazy": "1", "eager": "0"}
    if asked is not None and given is not None and given != lazy[asked]:
        raise DeviceError(
            f"execution {asked!r} was asked for, but {LAZY_MODE} is {given!r} in the "
            "environment; unset it or ask for the other mode"
        )
    if asked is not None or given is not None:
        wanted: Execution = asked or ("eager" if given == "0" else "lazy")
        if wanted == "lazy" and family == "stock":
            what = "execution 'lazy' was asked for" if asked else f"{LAZY_MODE} is {given!r}"
            raise DeviceError(
                f"{what}, but the installed torch is a stock build, which the bridge takes in "
                "eager mode only: {use:execution eager} (torch.compile in place of HPU graphs), or "
                "an image with Intel's torch fork (pytorch-installer instead of "
                "pytorch-upstream-installer)"
            )
        return Mode(execution=wanted, reason="as asked" if asked else f"{LAZY_MODE}={given}")
    if family == "stock":
        return Mode(execution="eager", reason="stock torch has no lazy mode and no HPU graphs")
    return Mode(execution="lazy", reason="the default; eager is the other mode")


def prepare_environment(
    *,
    execution: Execution | None = None,
    strict: bool = True,
    profile: bool = False,
    debug: bool = False,
    family: TorchFamily | None = None,
    recipe_cache: Path | None = None,
    environ: MutableMapping[str, str] | None = None,
    loaded: Collection[str] | None = None,
) -> dict[str, str]:
    """Set the variables that the bridge reads at import; call before the first ``import torch``.

    A value that the user has set stays, except that the execution mode must not contradict it.

    Args:
        execution: ``lazy`` (HPU graphs) or ``eager`` (torch.compile); None keeps what
            PT_HPU_LAZY_MODE says, and where it says nothing takes what the installed torch can do:
            lazy on Intel's fork, else eager.
        strict: Make a CPU fallback an error instead of a count.
        profile: The seed's ``--profile``: leave the SynapseAI profiler on.
        debug: The seed's ``--debug``: verbose logs on the console.
        family: Of torch; the installed one's by default.
        recipe_cache: A local folder: compiled recipes are kept in one of its own for each build,
            torch and mode, so that the next start finds them.
        environ: What to set; ``os.environ`` by default.
        loaded: Names of loaded modules; ``sys.modules`` by default.

    Returns:
        What was set.

    Raises:
        DeviceError: the mode contradicts the environment or the installed torch, or the bridge is
            loaded already.
    """
    environ = os.environ if environ is None else environ
    loaded = sys.modules if loaded is None else loaded
    if BRIDGE not in loaded:  # a bridge that is loaded has accepted its torch
        family = family or torch_family()
    mode = choose_mode(execution, given=environ.get(LAZY_MODE), family=family)
    wanted = _variables(mode.execution, strict=strict, profile=profile, debug=debug)
    if recipe_cache is not None:
        wanted[RECIPE_CACHE] = _recipe_cache(recipe_cache, mode.execution)
        _refuse_other(environ, RECIPE_CACHE, wanted[RECIPE_CACHE])
    missing = {name: value for name, value in wanted.items() if name not in environ}
    if missing and BRIDGE in loaded:
        raise DeviceError(_too_late(missing))
    environ.update(missing)
    environ.setdefault(AUTOLOAD, "0")  # else the next import of torch loads the bridge
    return missing


def _too_late(missing: Collection[str]) -> str:
    return (
        f"{BRIDGE} is loaded already and has read its environment; {', '.join(sorted(missing))} "
        f"must be set before torch is imported: use a fresh process (with {AUTOLOAD}=0 where "
        "something imports torch earlier)"
    )


def _variables(execution: Execution, *, strict: bool, profile: bool, debug: bool) -> dict[str, str]:
    return {
        LAZY_MODE: "1" if execution == "lazy" else "0",
        **_ALWAYS,
        **(_PROFILE if profile else _QUIET),
        **(_STRICT if strict else {}),
        **(_DEBUG if debug else {}),
    }


def _recipe_cache(folder: Path, execution: Execution) -> str:
    """Make the folder of this build; recipes of another one must not be found."""
    build = filter(None, map(version_of, ("habana-torch-plugin", "torch")))
    path = folder.expanduser().absolute() / "-".join((*build, execution))
    if "," in str(path):
        raise DeviceError(f"{path}: {RECIPE_CACHE} separates its fields by commas; use another")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DeviceError(f"{path}: no recipe cache can be made: {error.strerror}") from error
    return f"{path},false,{RECIPE_CACHE_MB}"  # path, deleted at start, MB


def _refuse_other(environ: Mapping[str, str], name: str, wanted: str) -> None:
    if environ.get(name, wanted) != wanted:
        raise DeviceError(
            f"a recipe cache was asked for, but {name} is {environ[name]!r} in the environment; "
            "unset it, or leave the option out"
        )


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

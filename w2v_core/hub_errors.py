"""What went wrong between here and the Hugging Face hub, told as what it is.

huggingface_hub raises its own classes, those of its HTTP client (requests before 1.0, httpx-like
ones since, which are no OSError) and plain OSErrors; which of them depends on its version. They are
known here by name, so that importing this module imports neither.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from w2v_core.printable import one_line

FaultKind = Literal[
    "offline",
    "unreachable",
    "interrupted",
    "busy",
    "denied",
    "gated",
    "repository",
    "revision",
    "file",
    "name",
    "disk",
    "uncached",
    "other",
]

CLIENTS = frozenset({"huggingface_hub", "hf_xet", "requests", "urllib3", "httpx", "httpx2"})
UNREACHABLE = ("ConnectError", "ConnectTimeout", "ConnectionError", "ProxyError", "PoolTimeout")
BROKEN_OFF = ("TransportError", "ChunkedEncodingError", "IncompleteRead", "Timeout", "StreamError")
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFault:
    """One failure of a look-up or a download."""

    kind: FaultKind
    reason: str
    """One sentence without a full stop: what happened, and what to do where a download won't do."""

    @property
    def can_fetch(self) -> bool:
        """Whether a command that downloads could help; where not, it would fail alike."""
        return self.kind not in ("repository", "revision", "name")


OFFLINE = HubFault(kind="offline", reason="offline mode is on (HF_HUB_OFFLINE)")


def explain(error: BaseException, *, repository: str, revision: str | None = None) -> HubFault:
    """Tell what an exception out of huggingface_hub means for ``repository``.

    Raises:
        BaseException: ``error`` itself, where neither the hub's client nor the system raised it:
            a fault in a program is not a fault of the network.
    """
    told = _root(error)
    names = _names(told)
    if (fault := _by_name(names, told, repository, revision)) is not None:
        return fault
    if (status := _status(told)) is not None:
        return _by_status(status, repository)
    if _is_any(names, UNREACHABLE):
        return HubFault(kind="unreachable", reason=f"the hub cannot be reached ({one_line(told)})")
    if _is_any(names, BROKEN_OFF):
        reason = (
            f"the connection broke off ({one_line(told)}); what has arrived is kept: run it again"
        )
        return HubFault(kind="interrupted", reason=reason)
    if isinstance(told, OSError) and told.errno in DISK:
        return HubFault(kind="disk", reason=f"the hub's cache cannot be written ({one_line(told)})")
    if isinstance(told, OSError) or _package(told) in CLIENTS:
        return HubFault(kind="other", reason=f"the hub's client failed ({one_line(told)})")
    raise error


def _root(error: BaseException) -> BaseException:
    """Skip the wrapper that says only that nothing is cached, where it has a cause."""
    while _is_any(_names(error), ("LocalEntryNotFoundError",)) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _by_name(
    names: frozenset[str], error: BaseException, repository: str, revision: str | None
) -> HubFault | None:
    """Explain the errors that huggingface_hub has classes for, the narrower ones first."""
    known: tuple[tuple[str, FaultKind, str], ...] = (
        ("OfflineModeIsEnabled", OFFLINE.kind, OFFLINE.reason),
        (
            "GatedRepoError",
            "gated",
            f"{repository} is gated: accept its terms on its page, then `hf auth login`",
        ),
        ("DisabledRepoError", "denied", f"the hub has disabled {repository}"),
        (
            "RepositoryNotFoundError",
            "repository",
            f"the hub has no {repository}, or it is private: check the name, then `hf auth login`",
        ),
        (
            "RevisionNotFoundError",
            "revision",
            f"{repository} has no revision {revision!r}: give a branch, a tag or a full commit",
        ),
        ("HFValidationError", "name", f"{repository!r} is no repository name ({one_line(error)})"),
        ("LocalEntryNotFoundError", "uncached", "it is not in the cache"),
        ("EntryNotFoundError", "file", f"{repository} lacks a file ({one_line(error)})"),
    )
    for name, kind, reason in known:
        if name in names:
            return HubFault(kind=kind, reason=reason)
    return None


def _by_status(status: int, repository: str) -> HubFault:
    try:
        told = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        told = str(status)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        reason = f"the hub answers {told} for {repository}: `hf auth login` with a token that may"
        return HubFault(kind="denied", reason=reason)
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return HubFault(kind="busy", reason=f"the hub answers {told}: try again later")
    return HubFault(kind="other", reason=f"the hub answers {told} for {repository}")


def _status(error: BaseException) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _names(error: BaseException) -> frozenset[str]:
    return frozenset(cls.__name__ for cls in type(error).__mro__)


def _is_any(names: frozenset[str], wanted: tuple[str, ...]) -> bool:
    return not names.isdisjoint(wanted)


def _package(error: BaseException) -> str:
    return type(error).__module__.partition(".")[0]

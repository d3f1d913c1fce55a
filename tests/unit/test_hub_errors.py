"""Each way in which the hub fails is told as what it is; a fault of a program stays one."""

import errno
from types import SimpleNamespace

import pytest
from huggingface_hub import errors

from w2v_core.hub_errors import explain


def answer(cls, status):
    """An error of huggingface_hub that carries the hub's answer, old client or new."""
    return cls("said", response=SimpleNamespace(status_code=status, headers={}, request=None))


def wrapped(cause):
    """What huggingface_hub raises where it looked into the cache after a failed look-up."""
    error = errors.LocalEntryNotFoundError("not here")
    error.__cause__ = cause
    return error


def of_requests(name):
    """An error of the HTTP client that huggingface_hub below 1.0 has."""
    return type(name, (OSError,), {"__module__": "requests.exceptions"})("gone")


# Two classes since 1.0: one for the hub, one for the cache.
FILE_ABSENT = getattr(errors, "RemoteEntryNotFoundError", errors.EntryNotFoundError)
FAULTS = [
    ("offline", errors.OfflineModeIsEnabled("x"), "HF_HUB_OFFLINE"),
    ("gated", answer(errors.GatedRepoError, 403), "accept its terms"),
    ("repository", answer(errors.RepositoryNotFoundError, 404), "has no owner/name"),
    ("repository", answer(errors.RepositoryNotFoundError, 401), "or it is private"),
    ("revision", answer(errors.RevisionNotFoundError, 404), "no revision 'v9'"),
    ("file", answer(FILE_ABSENT, 404), "lacks a file"),
    ("denied", answer(errors.HfHubHTTPError, 401), "401 Unauthorized"),
    ("denied", answer(errors.HfHubHTTPError, 403), "403 Forbidden"),
    ("busy", answer(errors.HfHubHTTPError, 503), "503 Service Unavailable: try again later"),
    ("busy", answer(errors.HfHubHTTPError, 429), "429 Too Many Requests"),
    ("other", answer(errors.HfHubHTTPError, 418), "418"),
    ("unreachable", of_requests("ConnectionError"), "cannot be reached"),
    ("interrupted", of_requests("ChunkedEncodingError"), "broke off"),
    ("name", errors.HFValidationError("bad"), "no repository name"),
    ("disk", OSError(errno.ENOSPC, "No space left on device"), "cannot be written"),
    ("uncached", errors.LocalEntryNotFoundError("not here"), "not in the cache"),
    ("other", OSError("Consistency check failed"), "client failed (OSError: Consistency"),
]
TRANSPORT = [
    ("unreachable", "ConnectError", "cannot be reached (ConnectError: said)"),
    ("unreachable", "ConnectTimeout", "cannot be reached"),
    ("unreachable", "ProxyError", "cannot be reached"),
    ("interrupted", "ReadError", "broke off (ReadError: said)"),
    ("interrupted", "RemoteProtocolError", "run it again"),
    ("interrupted", "ReadTimeout", "broke off"),
]


@pytest.mark.parametrize(
    ("kind", "error", "text"), FAULTS, ids=[f"{n}-{k}" for n, (k, _, _) in enumerate(FAULTS)]
)
@pytest.mark.parametrize("wrap", [False, True], ids=["bare", "wrapped"])
def test_a_failure_is_told_as_what_it_is_on_one_line(kind, error, text, wrap):
    fault = explain(wrapped(error) if wrap else error, repository="owner/name", revision="v9")

    assert fault.kind == kind
    assert text in fault.reason
    assert "\n" not in fault.reason


@pytest.mark.parametrize(("kind", "name", "text"), TRANSPORT)
def test_errors_of_the_http_client_that_are_no_oserror_are_told_too(kind, name, text):
    client = pytest.importorskip("httpx2", reason="the HTTP client of huggingface_hub 2")
    error = getattr(client, name)("said")
    assert not isinstance(error, OSError)

    fault = explain(error, repository="owner/name")

    assert fault.kind == kind
    assert text in fault.reason


def test_a_fault_of_a_program_is_raised_on():
    with pytest.raises(KeyError):
        explain(KeyError("x"), repository="owner/name")


def test_text_of_many_lines_is_cut_to_the_first():
    fault = explain(OSError("first\n" + "second" * 999), repository="owner/name")

    assert "first" in fault.reason
    assert "second" not in fault.reason

"""A small stand-in of the Hugging Face hub's HTTP API on 127.0.0.1, for ``HF_ENDPOINT``.

What huggingface_hub asks for: repository information by revision, the tree, and ``resolve`` with
its headers (commit, ETag, the size and hash of a large file behind a redirect, byte ranges). Faults
are switched on by assignment: an outage, a repository that is gated, private or absent, a
connection that drops in the middle of a file.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE_SUFFIXES = (".safetensors", ".bin", ".parquet", ".h5", ".msgpack")
"""What the hub keeps out of git and serves from elsewhere, by .gitattributes."""
CHUNK_BYTES = 1 << 16  # huggingface_hub keeps whole chunks of what a dropped connection brought
ROUTES = (
    (re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)/tree/(.+)"), "tree"),
    (re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)/revision/(.+)"), "info"),
    (re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)"), "info"),
    (re.compile(r"/(datasets)/([^/]+/[^/]+)/resolve/([^/]+)/(.+)"), "resolve"),
    (re.compile(r"/()([^/]+/[^/]+)/resolve/([^/]+)/(.+)"), "resolve"),
    (re.compile(r"/large/([0-9a-f]{64})"), "large"),
)


@dataclass
class Repository:
    """One repository: its files by path, per commit; ``main`` is the last commit."""

    kind: str
    """``models`` or ``datasets``."""
    name: str
    commits: dict[str, Mapping[str, bytes]]
    tags: dict[str, str] = field(default_factory=dict)
    access: str = "open"
    """``open``, ``gated`` or ``private``."""

    def commit(self, revision: str) -> str | None:
        """Resolve a branch, tag or commit."""
        refs = {"main": list(self.commits)[-1], **self.tags}
        found = refs.get(revision, revision)
        return found if found in self.commits else None


@dataclass
class Request:
    """One request as it came in."""

    method: str
    path: str
    range: str | None


@dataclass
class Hub:
    """What the stand-in serves, its faults, and what it was asked for."""

    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    outage: int | None = None
    """Answer everything with this status."""
    outage_message: str = "Service unavailable"
    drops: dict[str, list[int]] = field(default_factory=dict)
    """By a path's end: after how many bytes each of the next downloads of it breaks off."""
    url: str = ""

    def add(self, repository: Repository) -> None:
        """Serve a repository."""
        self.repositories[repository.kind, repository.name] = repository

    def environment(self, home: Path) -> dict[str, str]:
        """Variables for a process that is to use this hub and a home and cache of its own."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def resolved(self) -> list[str]:
        """The files that were asked for, by path, each once."""
        return sorted({r.path for r in self.requests if "/resolve/" in r.path})

    def mend(self) -> None:
        """Switch all faults off."""
        self.outage, self.outage_message = None, "Service unavailable"
        self.drops.clear()
        for repository in self.repositories.values():
            repository.access = "open"

    def drops_of(self, path: str) -> list[int]:
        """Return the drops that concern ``path``."""
        return next((counts for end, counts in self.drops.items() if path.endswith(end)), [])

    def large_file(self, sha256: str) -> bytes | None:
        """Find the content of a large file by its hash."""
        for repository in self.repositories.values():
            for files in repository.commits.values():
                for data in files.values():
                    if _sha256(data) == sha256:
                        return data
        return None


@contextlib.contextmanager
def serving(hub: Hub | None = None) -> Iterator[Hub]:
    """Run the stand-in on a free port of 127.0.0.1 until the block ends."""
    hub = hub or Hub()

    class Handler(_Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def point_at(hub: Hub, monkeypatch: Any, *, cache: Path) -> Hub:
    """Point this process at the stand-in, with a cache of its own; the log of requests is emptied.

    huggingface_hub has read its environment when it was imported, so its constants are changed.
    """
    from huggingface_hub import constants

    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    changes = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "DOWNLOAD_CHUNK_SIZE": CHUNK_BYTES,
    }
    for name, value in changes.items():
        monkeypatch.setattr(constants, name, value, raising=False)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    hub.requests.clear()
    return hub


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    served: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Stay off stderr; the hub keeps the requests itself."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, path = self.served, unquote(urlsplit(self.path).path)
        hub.requests.append(Request(self.command, path, self.headers.get("Range")))
        if hub.outage is not None:
            self._send(hub.outage, b"", {"X-Error-Message": hub.outage_message})
            return
        for pattern, route in ROUTES:
            if match := pattern.fullmatch(path):
                getattr(self, f"_{route}")(*match.groups())
                return
        self._refuse(404, "", "Not found")

    def _find(self, kind: str, name: str, revision: str) -> tuple[Repository, str] | None:
        """Find repository and commit, or send the refusal that the hub would."""
        repository = self.served.repositories.get((kind or "models", name))
        if repository is None or repository.access == "private":
            self._refuse(401, "RepoNotFound", "Invalid username or password.")
        elif (commit := repository.commit(revision)) is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return repository, commit
        return None

    def _info(self, kind: str, name: str, revision: str = "main") -> None:
        if found := self._find(kind, name, revision):
            repository, commit = found
            siblings = [{"rfilename": path} for path in repository.commits[commit]]
            gated = "manual" if repository.access == "gated" else False
            about = {"_id": "0" * 24, "id": name, "sha": commit, "private": False, "tags": []}
            self._send_json({**about, "gated": gated, "downloads": 0, "siblings": siblings})

    def _tree(self, kind: str, name: str, revision: str) -> None:
        if found := self._find(kind, name, revision):
            repository, commit = found
            files = repository.commits[commit]
            self._send_json([_tree_entry(path, data) for path, data in sorted(files.items())])

    def _resolve(self, kind: str, name: str, revision: str, path: str) -> None:
        if not (found := self._find(kind, name, revision)):
            return
        repository, commit = found
        data = repository.commits[commit].get(path)
        if repository.access == "gated":
            self._refuse(401, "GatedRepo", f"Access to {name} is restricted.", commit=commit)
        elif data is None:
            self._refuse(404, "EntryNotFound", "Entry not found", commit=commit)
        elif path.endswith(LARGE_SUFFIXES):
            sha256 = _sha256(data)
            linked = {"X-Linked-Size": str(len(data)), "X-Linked-ETag": f'"{sha256}"'}
            elsewhere = self.served.url.replace("127.0.0.1", "localhost")  # another host's store
            away = {"Location": f"{elsewhere}/large/{sha256}", "X-Repo-Commit": commit}
            if counts := self.served.drops_of(path):
                self.served.drops[sha256] = counts
            self._send(302, b"", {**away, **linked})
        else:
            etag = {"X-Repo-Commit": commit, "ETag": f'"{_blob_id(data)}"'}
            self._send_ranged(data, etag, drops=self.served.drops_of(path))

    def _large(self, sha256: str) -> None:
        data = self.served.large_file(sha256)
        if data is None:
            self._refuse(404, "", "no such object")
            return
        self._send_ranged(data, {"ETag": f'"{sha256}"'}, drops=self.served.drops_of(sha256))

    def _refuse(self, status: int, code: str, message: str, *, commit: str | None = None) -> None:
        headers = {"X-Error-Message": message}
        headers |= {"X-Error-Code": code} if code else {}
        headers |= {"X-Repo-Commit": commit} if commit else {}
        self._send(status, json.dumps({"error": message}).encode(), headers)

    def _send_json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send_ranged(self, data: bytes, headers: Mapping[str, str], *, drops: list[int]) -> None:
        drop = drops.pop(0) if drops and self.command == "GET" else None
        status, start = 200, 0
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        extra = {"Accept-Ranges": "bytes"}
        if wanted:
            status, start = 206, int(wanted[1])
            end = int(wanted[2]) + 1 if wanted[2] else len(data)
            extra["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
            data = data[start:end]
        self._send(status, data, {**headers, **extra}, drop=drop)

    def _send(
        self, status: int, body: bytes, headers: Mapping[str, str], *, drop: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if drop is None:
            self.wfile.write(body)
            return
        self.wfile.write(body[:drop])
        self.wfile.flush()
        self.close_connection = True  # fewer bytes than announced: a connection that broke off


def _tree_entry(path: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "oid": _blob_id(data), "size": len(data), "path": path}
    if path.endswith(LARGE_SUFFIXES):
        sha256 = _sha256(data)
        entry["lfs"] = {"oid": sha256, "size": len(data), "pointerSize": 134}
    return entry


@functools.cache
def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@functools.cache
def _blob_id(data: bytes) -> str:
    """The id that git gives a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()

"""A stand-in for the Hugging Face hub on this machine: repositories, commits, downloads."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_this_test"

PLACE_OF_A_FILE = "{repo_id}/resolve/{revision}/{filename}"
"""Where the hub's library looks for it."""


class Hub(ThreadingHTTPServer):
    """Holds repositories in memory: name -> commits, each with its files, the newest last."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def running() -> Iterator[Hub]:
    """A hub that answers as long as the block lasts."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = urlsplit(self.path).path
        self.server.asked.append(f"POST {path}")
        if path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            return self._answer({"error": "Invalid credentials in Authorization header"}, 401)
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/\w+", path):
            files = json.loads(body)["files"]
            for file in files:
                file |= {"uploadMode": "regular", "shouldIgnore": False}
            return self._answer({"files": files})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/\w+", path):
            return self._commit(match[1], body)
        return self._answer({"error": "no such place"}, 404)

    def do_GET(self) -> None:
        self._get()

    def do_HEAD(self) -> None:
        self._get()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _create(self, about: dict) -> None:
        name = f"{about['organization']}/{about['name']}"
        if name in self.server.repositories:
            return self._answer({"error": "You already created it", "url": self._url(name)}, 409)
        self.server.repositories[name] = {}
        if about.get("visibility") == "private":
            self.server.private.add(name)
        return self._answer({"url": self._url(name), "name": name})

    def _url(self, name: str) -> str:
        return f"{self.server.url}/{name}"

    def _commit(self, name: str, body: bytes) -> None:
        commits = self.server.repositories[name]
        files = dict(list(commits.values())[-1]) if commits else {}
        for line in body.decode().splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                files[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
        commit = hashlib.sha1(body).hexdigest()
        commits[commit] = files
        url = f"{self._url(name)}/commit/{commit}"
        self._answer({"commitUrl": url, "commitOid": commit, "pullRequestUrl": None})

    def _get(self) -> None:
        path = urlsplit(self.path).path
        self.server.asked.append(f"{self.command} {path}")
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if not match:
            return self._answer({"error": "no such place"}, 404)
        name, revision, file = match[1], unquote(match[2]), unquote(match[3])
        is_owner = self.headers.get("authorization") == f"Bearer {TOKEN}"
        commits = self.server.repositories.get(name, {})
        if not commits or (name in self.server.private and not is_owner):
            return self._answer({"error": "Repository not found"}, 401, code="RepoNotFound")
        commit = list(commits)[-1] if revision == "main" else revision
        if commit not in commits:
            return self._answer({"error": "Invalid rev id"}, 404, code="RevisionNotFound")
        if file not in commits[commit]:
            return self._answer({"error": "Entry not found"}, 404, code="EntryNotFound")
        data = commits[commit][file]
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)
        return None

    def _answer(self, content: dict, status: int = 200, code: str | None = None) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

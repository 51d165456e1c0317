"""Gallery: a page on localhost with what `photo-worker local` has made so far.

Owns the page's address, its routes and its headers; two callables give it the state of the photos
and the bytes of a rendition. It serves only renditions that a manifest of the current snapshot
names, and only to a browser that asks for a local host name, so that a foreign page cannot read
photos through it.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

from worker.lab.local.changes import Changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_log = logging.getLogger(__name__)

_STATIC: Final = {
    "/": ("gallery.html", "text/html; charset=utf-8"),
    "/gallery.css": ("gallery.css", "text/css; charset=utf-8"),
    "/gallery.js": ("gallery.js", "text/javascript; charset=utf-8"),
}
_OBJECTS: Final = "/objects/"
_POLL_SECONDS: Final = 0.05
_IDLE_SECONDS: Final = 15.0

_POLICY: Final = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    # The page does not use innerHTML, and a browser that knows the rule enforces it.
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)
_HEADERS: Final = {
    "Content-Security-Policy": "; ".join(_POLICY),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Gallery:
    """The gallery's server, in threads of its own.

    `snapshot` gives the page's whole state, ready for JSON; `fetch` gives the bytes of a rendition
    by its object name, or None. Both are called from several threads at once, and after `stop` by
    requests that were running. `port` 0 takes a free one.
    """

    def __init__(
        self,
        *,
        snapshot: Callable[[], Mapping[str, Any]],
        fetch: Callable[[str], bytes | None],
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        """Listen on the port and answer from `start` on; raise OSError if the port is taken."""
        self._server = _Server((host, port), _Site(snapshot, fetch, host))
        self._url = f"http://{host}:{self._server.server_address[1]}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="gallery", daemon=True
        )
        self._state = threading.Lock()
        self._started = self._stopped = False

    @property
    def url(self) -> str:
        """The page's address, `http://127.0.0.1:PORT/`."""
        return self._url

    def start(self) -> None:
        """Begin to answer. A second call changes nothing; after `stop` raises RuntimeError."""
        with self._state:
            if self._stopped:
                msg = "a stopped gallery does not start again"
                raise RuntimeError(msg)
            if not self._started:
                self._thread.start()
                self._started = True

    def stop(self) -> None:
        """Close the address and every connection, even if a `fetch` hangs.

        Idempotent; from any thread.
        """
        with self._state:
            if self._stopped:
                return
            self._stopped = True
            if self._started:
                # Without a serving thread `shutdown` would wait for ever.
                self._server.shutdown()
                self._thread.join()
            self._server.server_close()
            self._server.hang_up()


class _Answer(NamedTuple):
    status: HTTPStatus
    content_type: str
    cache_control: str
    body: bytes


class _Site:
    """The answer to each path."""

    def __init__(
        self,
        snapshot: Callable[[], Mapping[str, Any]],
        fetch: Callable[[str], bytes | None],
        host: str,
    ) -> None:
        self._snapshot = snapshot
        self._changes = Changes(snapshot)
        self._fetch = fetch
        self._hosts = {"localhost", "127.0.0.1", host.lower()}
        here = Path(__file__).resolve().parent
        self._static = {
            path: _Answer(HTTPStatus.OK, kind, "no-cache", (here / name).read_bytes())
            for path, (name, kind) in _STATIC.items()
        }

    def answers_to(self, hosts: list[str]) -> bool:
        """Return True if the Host header names this machine.

        A foreign page can point its own host name at 127.0.0.1, but the browser then sends that
        name. The port may differ, as behind a forwarded port.
        """
        if len(hosts) != 1:
            return False
        match = re.fullmatch(r"([^:]+)(?::[0-9]{1,5})?", hosts[0].strip())
        return match is not None and match[1].lower() in self._hosts

    def answer(self, target: str) -> _Answer:
        path, _, query = target.partition("?")
        if path in self._static:
            return self._static[path]
        if path == "/photos.json":
            cursor = dict(parse_qsl(query)).get("since", "")
            body = json.dumps(self._changes.since(cursor)).encode()
            return _Answer(HTTPStatus.OK, "application/json", "no-store", body)
        if path.startswith(_OBJECTS):
            return self._rendition(path.removeprefix(_OBJECTS))
        return _text(HTTPStatus.NOT_FOUND, "no such page")

    def _rendition(self, quoted: str) -> _Answer:
        try:
            name = unquote_to_bytes(quoted).decode()
        except UnicodeDecodeError:
            return _text(HTTPStatus.NOT_FOUND, "no such rendition")
        # Check the present snapshot, so that a deregistered photo is not served any more.
        body = self._fetch(name) if name in _named(self._snapshot()) else None
        if body is None:
            return _text(HTTPStatus.NOT_FOUND, "no such rendition")
        kind = "image/webp" if name.endswith(".webp") else "application/octet-stream"
        # The name holds a digest of the bytes, so they stay the same.
        return _Answer(HTTPStatus.OK, kind, "public, max-age=31536000, immutable", body)


def _named(snapshot: Mapping[str, Any]) -> set[str]:
    manifests: Iterator[Mapping[str, Any]] = (
        photo["manifest"] for photo in snapshot["photos"] if photo.get("manifest")
    )
    return {
        rendition["object"]
        for manifest in manifests
        for rendition in manifest.get("renditions") or ()
    }


def _text(status: HTTPStatus, words: str) -> _Answer:
    return _Answer(status, "text/plain; charset=utf-8", "no-store", f"{words}\n".encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # a browser opens several connections at once

    def __init__(self, address: tuple[str, int], site: _Site) -> None:
        self.site = site
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks for the host's full name, which can hang without a network.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that browsers keep open, so that their threads end too."""
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # the connection's own thread has closed it already
                continue

    def handle_error(self, request: object, client_address: object) -> None:
        del request
        if isinstance(sys.exception(), ConnectionError | TimeoutError):
            return  # the browser went away during the answer
        _log.exception("gallery: a request from %s failed", client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection with one request, because loopback is fast without keep-alive."""

    server: _Server
    timeout = _IDLE_SECONDS
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(code)d %(message)s\n"

    def do_GET(self) -> None:
        site = self.server.site
        if not site.answers_to(self.headers.get_all("Host", [])):
            self._send(_text(HTTPStatus.FORBIDDEN, "this page is served to localhost only"))
            return
        try:
            answer = site.answer(self.path)
        except Exception:  # noqa: BLE001  # whatever the callables raise, the page lives on
            _log.exception("gallery: no answer to %r", self.path)
            answer = _text(HTTPStatus.INTERNAL_SERVER_ERROR, "failed; the log says why")
        self._send(answer)

    do_HEAD = do_GET  # noqa: N815  # the base class looks for this name

    def _send(self, answer: _Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", answer.cache_control)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def end_headers(self) -> None:
        """Add what every answer carries, the standard library's own error pages included."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def version_string(self) -> str:
        return "photo-worker"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        _log.debug("gallery: " + format, *args)

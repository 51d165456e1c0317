"""Transfers: download or upload one object of any size in one request, in pieces.

Google's client copies an object several times in memory, reads in pieces of 8 KiB, and closes its
connection after a 404. From 8 MiB on its uploads are resumable: their preconditions are checked
only when the upload starts, so they do not hold at the end. Google's JSON API:
https://docs.cloud.google.com/storage/docs/json_api/v1/objects
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import google_crc32c
import requests
import requests.adapters
import requests.utils
from google.api_core import exceptions as api

from worker.photo.checksum import stated
from worker.photo.ports import StoredObject

_PIECE_BYTES = 1 << 17

_HTTP_1_1 = 11
"""HTTP 1.1 in http.client's notation. Before 1.1, an answer may end with its connection."""

Timeout = tuple[float, float]
"""Seconds to connect, and between two bytes of an answer; as `requests` takes it."""


class Damaged(Exception):
    """The bytes that came differ from the stored ones, or the answer is unreadable."""


class Incoming:
    """An object whose response headers have come; its bytes can be read once.

    `crc32c` is base64 as GCS states it, or empty. `size_bytes` is as stored, `None` if unknown.
    `gzipped` is whether its `Content-Encoding` says so.
    """

    def __init__(self, response: requests.Response) -> None:
        """Read the headers only.

        Raises:
            Damaged: these are not the headers of an object.
        """
        self._response = response
        headers = response.headers
        generation = headers.get("X-Goog-Generation", "")
        if not generation.isdigit():
            raise Damaged("the answer does not say of which generation it is")
        self.generation = int(generation)
        size = headers.get("X-Goog-Stored-Content-Length") or headers.get("Content-Length", "")
        self.size_bytes = int(size) if size.isdigit() else None
        sums = (each.strip() for each in headers.get("X-Goog-Hash", "").split(","))
        self.created = _moment(parsedate_to_datetime, headers.get("Last-Modified"))
        encoding = headers.get("X-Goog-Stored-Content-Encoding") or headers.get("Content-Encoding")
        self.gzipped = encoding in {"gzip", "x-gzip"}
        self.crc32c = next((each[7:] for each in sums if each.startswith("crc32c=")), "")

    def pieces(self, seconds: float) -> Iterator[bytes]:
        """Yield every byte as it is stored; a compressed object stays compressed.

        Raises:
            TimeoutError: the whole download takes longer than `seconds`.
            Damaged: raised after the last byte, so use the bytes only once all have come.
        """
        deadline = time.monotonic() + seconds
        checksum, size_bytes = 0, 0
        # `read` would wait for a whole piece, which takes hours if the server sends single bytes.
        while piece := self._response.raw.read1(_PIECE_BYTES, decode_content=False):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the download took longer than {seconds:.0f} s")
            checksum = google_crc32c.extend(checksum, piece)
            size_bytes += len(piece)
            yield piece
        if self.size_bytes not in {None, size_bytes}:
            raise Damaged(f"got {size_bytes} of {self.size_bytes} bytes")
        came = stated(checksum)
        if self.crc32c and came != self.crc32c:
            raise Damaged(f"got bytes of checksum {came}, stored are {self.crc32c}")


class Outgoing:
    """The body of an upload: an object's metadata and its bytes, as `multipart/related`.

    The body can be iterated again for a retry, and reads a file in pieces. Sending the whole body
    must not take longer than `seconds`.
    """

    def __init__(self, metadata: Mapping[str, Any], data: bytes | Path, seconds: float) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f'multipart/related; boundary="{boundary}"'
        self._head = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"
            f"{json.dumps(metadata)}\r\n"
            f"--{boundary}\r\nContent-Type: {metadata['contentType']}\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{boundary}--".encode()
        self._data = data
        self._data_bytes = data.stat().st_size if isinstance(data, Path) else len(data)
        self._seconds = seconds

    def __len__(self) -> int:
        """Return all bytes of the body; with a length, `requests` does not send chunks."""
        return len(self._head) + self._data_bytes + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body in pieces.

        Raises:
            TimeoutError: sending takes longer than `seconds`.
            Damaged: the file has become shorter meanwhile.
        """
        if isinstance(self._data, bytes) and len(self._data) <= _PIECE_BYTES:
            # A small body goes out in one TCP segment rather than three.
            yield self._head + self._data + self._tail
            return
        # The socket's time-out holds for each piece. A slow server could take each piece in time,
        # so the whole body needs a deadline.
        deadline = time.monotonic() + self._seconds
        yield self._head
        for piece in self._pieces():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the upload took longer than {self._seconds:.0f} s")
            yield piece
        yield self._tail

    def _pieces(self) -> Iterator[bytes]:
        if isinstance(self._data, bytes):
            yield self._data
            return
        # Send only as many bytes as announced. A hostile child could make the file longer
        # meanwhile, and the server would read the surplus as another request.
        left = self._data_bytes
        with self._data.open("rb", buffering=0) as file:
            while left and (piece := file.read(min(left, _PIECE_BYTES))):
                left -= len(piece)
                yield piece
        if left:
            raise Damaged(f"{self._data.name} has shrunk by {left} bytes since it was measured")


class Transfers:
    """Uploads and downloads over one session; as thread-safe as the session."""

    def __init__(
        self, session: requests.Session, endpoint: str, billing_project: str | None = None
    ) -> None:
        """`endpoint` is the API's address, with its scheme."""
        self._session = session
        self._paid = {"userProject": billing_project} if billing_project else {}
        self._endpoint = endpoint.rstrip("/")

    @contextmanager
    def incoming(
        self, bucket: str, name: str, generation: str | None, timeout: Timeout
    ) -> Iterator[Incoming]:
        """Request an object, or one generation of it; its bytes are read later.

        Raises:
            GoogleAPICallError: another answer of the server, such as `NotFound`.
            Damaged: the headers are not those of an object.
        """
        url = f"{self._endpoint}/download/storage/v1/b/{_quoted(bucket)}/o/{_quoted(name)}"
        pin = {"generation": generation} if generation else {}
        with self._session.get(
            url,
            params={"alt": "media", **pin, **self._paid},
            # Otherwise the server would unpack what is stored compressed.
            headers={"Accept-Encoding": "gzip"},
            timeout=timeout,
            stream=True,
            allow_redirects=False,
        ) as response:
            _raise_unless_ok(response)
            yield Incoming(response)

    def upload(
        self,
        bucket: str,
        metadata: Mapping[str, Any],
        data: bytes | Path,
        *,
        if_generation: int,
        timeout: Timeout,
    ) -> StoredObject:
        """Store an object in a single request; return the facts of the stored object.

        `metadata` holds at least `name` and `contentType`. The first number of `timeout` also
        limits the sending of the body: urllib3 sends within the time to connect.

        Raises:
            GoogleAPICallError: another answer of the server, such as `PreconditionFailed`.
            Damaged: the answer is unreadable, or the file has become shorter meanwhile.
        """
        body = Outgoing(metadata, data, timeout[0])
        with self._session.post(
            f"{self._endpoint}/upload/storage/v1/b/{_quoted(bucket)}/o",
            params={
                "uploadType": "multipart",
                "ifGenerationMatch": str(if_generation),
                **self._paid,
            },
            data=body,
            headers={"Content-Type": body.content_type},
            timeout=timeout,
            # `requests` would follow a redirect with a GET, and its answer would look like the
            # upload's.
            allow_redirects=False,
        ) as response:
            _raise_unless_ok(response)
            return _stored(response, bucket, metadata["name"])


def configure_session(session: requests.Session, endpoint: str, connections: int) -> None:
    """Set a session up for one server and as many threads as `connections`."""
    # The default pool holds ten connections; more threads would close and reopen connections.
    adapter = _Adapter(pool_connections=4, pool_maxsize=connections)
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter)
    # Look for proxies and bundles once: this and a .netrc take a third of each request's time.
    session.proxies = requests.utils.get_environ_proxies(endpoint)
    session.verify = (
        os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or session.verify
    )
    session.trust_env = False


class _Adapter(requests.adapters.HTTPAdapter):
    """An adapter that refuses an answer whose headers were cut.

    http.client reads such an answer as an empty body, so a cut listing would look like an empty
    bucket.
    """

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401
        """See `requests.adapters.HTTPAdapter`."""
        response = super().send(*args, **kwargs)
        headers = response.headers
        has_end = (
            headers.get("Content-Length", "").isdigit()
            or "Transfer-Encoding" in headers
            or "close" in headers.get("Connection", "").lower()
            or response.raw.version < _HTTP_1_1
            or response.status_code in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
        )
        if not has_end:
            response.close()
            raise requests.exceptions.ConnectionError("the head of the answer was cut")
        return response


def _stored(response: requests.Response, bucket: str, name: str) -> StoredObject:
    try:
        resource = response.json()
        return StoredObject(
            bucket=bucket,
            name=name,
            generation=int(resource["generation"]),
            size_bytes=int(resource["size"]),
            crc32c=str(resource.get("crc32c", "")),
            created=_moment(datetime.fromisoformat, resource.get("timeCreated")),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Damaged(f"no answer to an upload: {response.text[:80]!r}") from error


def _moment(parse: Callable[[str], datetime], stated: str | None) -> datetime:
    """Parse a time, in UTC if it has no offset; return the current time if it is missing.

    The sweep deletes by age, so an object of unknown age counts as new.
    """
    if not stated:
        return datetime.now(UTC)
    try:
        moment = parse(stated)
    except ValueError as error:
        raise Damaged(f"no moment: {stated[:40]!r}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _quoted(name: str) -> str:
    return quote(name, safe="~")


def _raise_unless_ok(response: requests.Response) -> None:
    if response.status_code != HTTPStatus.OK:
        # This call also reads the rest of the answer, so that the connection can be used again.
        raise api.from_http_response(response)  # type: ignore[no-untyped-call]

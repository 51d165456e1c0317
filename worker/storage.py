"""Google Cloud Storage: the only room that imports its client.

Every operation is one HTTP request, retried here with full jitter and nowhere else (the client's
own retries are off, two stacked loops would outlast a drain). Google's exceptions end here.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, TypeVar

import google.auth.exceptions
import google.cloud.storage.blob
import requests
import requests.adapters
import urllib3.exceptions
from google.api_core import exceptions as api
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from worker.errors import (
    BucketUnavailable,
    NoCredentials,
    ObjectMissing,
    PreconditionFailed,
    StorageForbidden,
    StorageUnavailable,
)
from worker.patience import Patience
from worker.ports import StoredObject

SINGLE_REQUEST_BYTES = 256 << 20
"""Everything is uploaded in one request: preconditions of resumable uploads bind nobody
(they are checked when the upload starts), and a 9 MB `full` rendition needs its precondition."""

# The client's threshold is a module constant of 8 MiB without an argument to change it;
# tests/contract/test_store.py fails if a release of the client stops honouring this.
google.cloud.storage.blob._MAX_MULTIPART_SIZE = SINGLE_REQUEST_BYTES  # noqa: SLF001

# Otherwise the client asks for each bucket's metadata in the background, for traces that nobody has
# turned on, with a permission that the worker need not have.
os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")

T = TypeVar("T")

_TRANSIENT = (
    api.ServerError,
    api.TooManyRequests,
    requests.exceptions.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.Timeout,
    google.auth.exceptions.TransportError,
    # A raw download reads urllib3's stream itself, so requests translates nothing of it.
    urllib3.exceptions.HTTPError,
    DataCorruption,
    ConnectionError,
)
_HTTP_1_1 = 11
"""As http.client writes it. Before 1.1, an answer may end with its connection."""


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, api.GoogleAPICallError) and error.code == HTTPStatus.REQUEST_TIMEOUT:
        return True
    return isinstance(error, _TRANSIENT)


class GcsStore:
    """`ports.ObjectStore` over one client; safe to share between threads."""

    def __init__(
        self,
        *,
        project: str | None,
        emulator_url: str | None,
        connections: int,
        patience: Patience | None = None,
    ) -> None:
        """Open no connection yet; `connections` sizes the HTTP pool (one for each thread).

        Raises:
            Fatal: there are no credentials.
        """
        self._patience = patience or Patience()
        if emulator_url:
            self._client = storage.Client(
                project=project or "emulated",
                credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
                client_options={"api_endpoint": emulator_url},
            )
        else:
            try:
                self._client = storage.Client(project=project)
            except google.auth.exceptions.GoogleAuthError as error:
                raise NoCredentials.of(error) from error
        # The default pool of ten drops and reopens connections beneath more threads than that.
        adapter = _Adapter(pool_connections=4, pool_maxsize=connections)
        for scheme in ("https://", "http://"):
            self._client._http.mount(scheme, adapter)  # noqa: SLF001 (no public way to a session)

    def stat(self, bucket: str, name: str, generation: str | None = None) -> StoredObject | None:
        """See `ports.ObjectStore`."""
        blob = self._blob(bucket, name, int(generation) if generation else None)
        try:
            self._call(lambda: blob.reload(timeout=self._patience.timeout, retry=None))
        except api.NotFound:
            return None
        return _stored(blob)

    def download(self, stored: StoredObject, into: Path) -> None:
        """See `ports.ObjectStore`."""
        blob = self._blob(stored.bucket, stored.name, stored.generation)

        def attempt() -> None:
            with into.open("wb") as file:
                sink = _TimedFile(file, self._patience.download_seconds)
                # Raw: the stored bytes are what size and crc32c speak of, whatever the encoding.
                blob.download_to_file(
                    sink,
                    raw_download=True,
                    checksum="crc32c",
                    timeout=self._patience.timeout,
                    retry=None,
                )
                if file.tell() != stored.size_bytes:
                    raise ConnectionError(f"got {file.tell()} of {stored.size_bytes} bytes")

        try:
            self._call(attempt)
        except api.NotFound as error:
            raise ObjectMissing(f"gs://{stored.bucket}/{stored.name} is gone") from error

    def read(self, bucket: str, name: str) -> tuple[bytes, int] | None:
        """See `ports.ObjectStore`."""

        def attempt() -> tuple[bytes, int]:
            # A fresh one each time: a blob keeps the generation that it saw, and would ask for
            # that one again after another worker has replaced it.
            blob = self._blob(bucket, name)
            data = io.BytesIO()
            sink = _TimedFile(data, self._patience.read_seconds)
            blob.download_to_file(
                sink, checksum="crc32c", timeout=self._patience.timeout, retry=None
            )
            return data.getvalue(), int(blob.generation)

        try:
            return self._call(attempt)
        except api.NotFound:
            return None

    def write(  # noqa: PLR0913
        self,
        bucket: str,
        name: str,
        data: bytes,
        *,
        content_type: str,
        cache_control: str,
        if_generation: int,
        custom_time: datetime | None = None,
    ) -> StoredObject:
        """See `ports.ObjectStore`."""
        blob = self._blob(bucket, name)
        blob.cache_control = cache_control
        if custom_time is not None:
            blob.custom_time = custom_time
        try:
            self._call(
                lambda: blob.upload_from_string(
                    data,
                    content_type=content_type,
                    if_generation_match=if_generation,
                    checksum="crc32c",
                    timeout=self._patience.upload_timeout(len(data)),
                    retry=None,
                )
            )
        except api.PreconditionFailed as error:
            raise PreconditionFailed(name) from error
        except api.NotFound as error:
            raise _no_bucket(bucket) from error
        return _stored(blob)

    def delete(self, bucket: str, name: str) -> bool:
        """See `ports.ObjectStore`."""
        blob = self._blob(bucket, name)
        try:
            self._call(lambda: blob.delete(timeout=self._patience.timeout, retry=None))
        except api.NotFound:
            return False
        return True

    def objects(
        self, bucket: str, prefix: str, *, start: str | None = None, end: str | None = None
    ) -> Iterator[StoredObject]:
        """See `ports.ObjectStore`."""
        token: str | None = None
        while True:
            try:
                page, token = self._call(partial(self._page, bucket, prefix, start, end, token))
            except api.NotFound as error:
                raise _no_bucket(bucket) from error
            yield from page
            if token is None:
                return

    def _page(
        self, bucket: str, prefix: str, start: str | None, end: str | None, token: str | None
    ) -> tuple[list[StoredObject], str | None]:
        # A fresh iterator for each page: the client's own is a generator, and one that failed
        # once says "no more pages" when it is asked again.
        listing = self._client.list_blobs(
            bucket,
            prefix=prefix,
            start_offset=start,
            end_offset=end,
            page_token=token,
            fields="items(name,bucket,generation,size,crc32c,timeCreated),nextPageToken",
            timeout=self._patience.timeout,
            retry=None,
        )
        page = next(listing.pages, ())
        return [_stored(blob) for blob in page], listing.next_page_token

    def check_bucket(self, bucket: str) -> None:
        """See `ports.ObjectStore`; needs the permission storage.objects.list."""
        try:
            self._call(
                lambda: next(
                    self._client.list_blobs(
                        bucket, max_results=1, timeout=self._patience.timeout, retry=None
                    ).pages,
                    None,
                )
            )
        except api.NotFound as error:
            raise _no_bucket(bucket) from error
        except StorageForbidden as error:
            raise BucketUnavailable(
                f"bucket {bucket!r} is forbidden for this service account; grant it "
                "roles/storage.objectUser on renditions, roles/storage.objectViewer on originals"
            ) from error

    def create_bucket(self, bucket: str) -> None:
        """Make a bucket unless it exists (development servers and tests)."""

        def create() -> None:
            with contextlib.suppress(api.Conflict):
                self._client.create_bucket(bucket, timeout=self._patience.timeout, retry=None)

        self._call(create)

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()

    def _call(self, request: Callable[[], T]) -> T:
        """Send one request, retry transient faults, and translate what is left of them."""
        retrying = Retrying(
            retry=retry_if_exception(_is_transient),
            wait=wait_random_exponential(multiplier=self._patience.backoff_seconds, max=3),
            stop=stop_after_attempt(self._patience.attempts)
            | stop_before_delay(self._patience.retry_seconds),
            reraise=True,
        )
        try:
            return retrying(request)
        except (api.NotFound, api.PreconditionFailed):
            raise
        except (api.Forbidden, api.Unauthorized) as error:
            raise StorageForbidden(str(error)) from error
        except (
            *_TRANSIENT,
            TimeoutError,
            api.GoogleAPICallError,
            InvalidResponse,
            requests.exceptions.RequestException,
            google.auth.exceptions.GoogleAuthError,
        ) as error:
            raise StorageUnavailable(f"{type(error).__name__}: {error}") from error

    def _blob(self, bucket: str, name: str, generation: int | None = None) -> Any:  # noqa: ANN401
        return self._client.bucket(bucket).blob(name, generation=generation)


class _Adapter(requests.adapters.HTTPAdapter):
    """Refuses an answer whose head was cut, which http.client takes for one without a body.

    A listing cut so is not an empty one, nor a manifest an empty file.
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


class _TimedFile:
    """A file to download into that refuses to be written to after so many seconds."""

    def __init__(self, file: IO[bytes], seconds: float) -> None:
        self._file = file
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    def write(self, data: bytes) -> int:
        if time.monotonic() > self._deadline:
            raise TimeoutError(f"the download took longer than {self._seconds:.0f} s")
        return self._file.write(data)


def _no_bucket(bucket: str) -> BucketUnavailable:
    return BucketUnavailable(
        f"bucket {bucket!r} does not exist; create it or correct the setting that names it"
    )


def _stored(blob: Any) -> StoredObject:  # noqa: ANN401 (the client has no types)
    return StoredObject(
        bucket=blob.bucket.name,
        name=blob.name,
        generation=int(blob.generation),
        size_bytes=int(blob.size),
        crc32c=blob.crc32c or "",
        # Without one, as good as new: what decides by age must not take it for old.
        created=blob.time_created or datetime.now(UTC),
    )

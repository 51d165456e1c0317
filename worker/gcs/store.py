"""Google Cloud Storage: `ports.ObjectStore` over Google's client.

An operation sends one HTTP request at a time, which `retry` repeats until it succeeds. "Not found"
and "another generation" count as answers, not as faults.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import google.auth.exceptions
import requests
from google.api_core import exceptions as api
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from worker.errors import (
    BucketUnavailable,
    NoCredentials,
    OriginalForbidden,
    PreconditionFailed,
    StorageForbidden,
    StorageRefused,
)
from worker.gcs.patience import Patience
from worker.gcs.retry import Retries
from worker.gcs.transfers import Incoming, Transfers, configure_session
from worker.gcs.unpack import unpack
from worker.photo.checksum import crc32c_of, crc32c_of_file
from worker.photo.ports import StoredObject

# Without this, the client reads each bucket's metadata in the background, for traces that are off
# and with a permission that the worker may lack.
os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")


T = TypeVar("T")


class GcsStore:
    """`ports.ObjectStore` over one client; safe to share between threads."""

    def __init__(
        self,
        *,
        project: str | None,
        emulator_url: str | None,
        connections: int,
        patience: Patience | None = None,
        billing_project: str | None = None,
    ) -> None:
        """Create the client; `connections` is the size of the HTTP pool, one for each thread.

        `billing_project` pays for requests to "requester pays" buckets.

        Raises:
            Fatal: credentials are missing.
        """
        self._patience = patience or Patience()
        self._retries = Retries(self._patience)
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
        session: requests.Session = self._client._http  # noqa: SLF001 (no public way to it)
        configure_session(session, self._client.api_endpoint, connections)
        self._transfers = Transfers(session, self._client.api_endpoint, billing_project)
        self._billing_project = billing_project

    def stat(self, bucket: str, name: str, generation: str | None = None) -> StoredObject | None:
        """See `ports.ObjectStore`."""
        blob = self._blob(bucket, name, int(generation) if generation else None)

        def attempt() -> StoredObject:
            blob.reload(timeout=self._patience.timeout, retry=None)
            return _stored(blob)

        return self._found(attempt)

    def fetch(
        self,
        bucket: str,
        name: str,
        generation: str | None,
        into: Path,
        check_bytes: Callable[[int], None],
    ) -> StoredObject | None:
        """See `ports.ObjectStore`."""

        def attempt() -> tuple[StoredObject, bool]:
            with self._transfers.incoming(
                bucket, name, generation, self._patience.timeout
            ) as incoming:
                check_bytes(self._size_bytes(bucket, name, incoming))
                size_bytes = 0
                with into.open("wb", buffering=0) as file:
                    for piece in incoming.pieces(self._patience.download_seconds):
                        size_bytes += file.write(piece)
            stored = StoredObject(
                bucket=bucket,
                name=name,
                generation=incoming.generation,
                size_bytes=size_bytes,
                crc32c=incoming.crc32c,
                created=incoming.created,
            )
            return stored, incoming.gzipped

        try:
            found = self._found(attempt)
        except StorageRefused as error:
            self._check_that_it_answers(bucket, error)
            raise OriginalForbidden(f"gs://{bucket}/{name}: {error}") from error
        if found is None:
            return None
        stored, gzipped = found
        if gzipped:
            unpack(into, check_bytes)
        return stored

    def _check_that_it_answers(self, bucket: str, refusal: StorageRefused) -> None:
        """See that a bucket answers, so that the refusal is about one of its objects.

        Raises:
            StorageUnavailable: it does not; the refusal, if it refuses too.
        """
        try:
            self.check_bucket(bucket)
        except BucketUnavailable:
            raise refusal from None

    def _found(self, request: Callable[[], T]) -> T | None:
        """Return the request's result, or `None` if the object does not exist."""
        try:
            return self._retries(request)
        except api.NotFound:
            return None

    def _size_bytes(self, bucket: str, name: str, incoming: Incoming) -> int:
        """Return the stored size before the first byte is read."""
        if incoming.size_bytes is not None:
            return incoming.size_bytes
        blob = self._blob(bucket, name, incoming.generation)
        blob.reload(timeout=self._patience.timeout, retry=None)
        return int(blob.size)

    def read(self, bucket: str, name: str) -> tuple[bytes, int] | None:
        """See `ports.ObjectStore`."""

        def attempt() -> tuple[bytes, int]:
            with self._transfers.incoming(bucket, name, None, self._patience.timeout) as incoming:
                pieces = incoming.pieces(self._patience.read_seconds)
                return b"".join(pieces), incoming.generation

        return self._found(attempt)

    def write(  # noqa: PLR0913
        self,
        bucket: str,
        name: str,
        data: bytes | Path,
        *,
        content_type: str,
        cache_control: str,
        if_generation: int,
        crc32c: str | None = None,
        custom_time: datetime | None = None,
    ) -> StoredObject:
        """See `ports.ObjectStore`."""
        if isinstance(data, bytes):
            size_bytes, checksum = len(data), crc32c or crc32c_of(data)
        else:
            size_bytes, checksum = data.stat().st_size, crc32c or crc32c_of_file(data)
        metadata = {
            "name": name,
            "contentType": content_type,
            "cacheControl": cache_control,
            # The server refuses bytes of another checksum.
            "crc32c": checksum,
        }
        if custom_time is not None:
            metadata["customTime"] = custom_time.isoformat()
        try:
            return self._retries(
                lambda: self._transfers.upload(
                    bucket,
                    metadata,
                    data,
                    if_generation=if_generation,
                    timeout=self._patience.upload_timeout(size_bytes),
                )
            )
        except api.PreconditionFailed as error:
            raise PreconditionFailed(name) from error
        except api.NotFound as error:
            raise _no_bucket(bucket) from error

    def delete(self, bucket: str, name: str) -> bool:
        """See `ports.ObjectStore`."""
        blob = self._blob(bucket, name)

        def attempt() -> bool:
            blob.delete(timeout=self._patience.timeout, retry=None)
            return True

        return self._found(attempt) is not None

    def objects(
        self, bucket: str, prefix: str, *, start: str | None = None, end: str | None = None
    ) -> Iterator[StoredObject]:
        """See `ports.ObjectStore`."""
        token: str | None = None
        while True:
            try:
                page, token = self._retries(partial(self._page, bucket, prefix, start, end, token))
            except api.NotFound as error:
                raise _no_bucket(bucket) from error
            yield from page
            if token is None:
                return

    def _page(
        self, bucket: str, prefix: str, start: str | None, end: str | None, token: str | None
    ) -> tuple[list[StoredObject], str | None]:
        # Each page gets a new iterator. The client's iterator is a generator; after a failure, it
        # would end the listing silently.
        listing = self._client.list_blobs(
            self._bucket(bucket),
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
            self._retries(
                lambda: next(
                    self._client.list_blobs(
                        self._bucket(bucket),
                        max_results=1,
                        timeout=self._patience.timeout,
                        retry=None,
                    ).pages,
                    None,
                )
            )
        except api.NotFound as error:
            raise _no_bucket(bucket) from error
        except StorageRefused as error:
            raise BucketUnavailable(
                f"bucket {bucket!r} refuses this worker: {error} (if its requesters pay, set "
                "WORKER_BILLING_PROJECT)"
            ) from error
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

        self._retries(create)

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()

    def _blob(self, bucket: str, name: str, generation: int | None = None) -> Any:  # noqa: ANN401
        return self._bucket(bucket).blob(name, generation=generation)

    def _bucket(self, bucket: str) -> Any:  # noqa: ANN401
        return self._client.bucket(bucket, user_project=self._billing_project)


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
        # Without a time the object counts as new, because the sweep deletes by age.
        created=blob.time_created or datetime.now(UTC),
    )

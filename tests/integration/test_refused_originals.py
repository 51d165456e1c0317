"""What Cloud Storage refuses for good, in Google's words before a real server; and gzip.

Google answers a download as plain text, and all other requests as JSON.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.integration.scenarios import READY, REJECTED, SCENARIOS, Answered, Bench, Photo, Run
from tests.support.fault_proxy import FaultProxy, Request
from tests.support.workers import JPEG
from worker.errors import BucketUnavailable
from worker.gcs.patience import Patience
from worker.gcs.store import GcsStore

NEW_PHOTO = SCENARIOS[0]
PATIENCE = Patience(connect_seconds=2.0, answer_seconds=2.0, backoff_seconds=0.0005)

CUSTOMERS_KEY = 400, "The target object is encrypted by a customer-supplied encryption key."
DISABLED_KEY = 403, "Cloud KMS key projects/p/locations/l/keyRings/r/cryptoKeys/k is disabled."
REQUESTER_PAYS = 400, "Bucket is a requester pays bucket but no user project provided."
NO_PERMISSION = 403, "worker@p.iam.gserviceaccount.com does not have storage.objects.get access."


@pytest.fixture
def proxy(storage_url: str) -> Iterator[FaultProxy]:
    with FaultProxy(storage_url) as proxy:
        yield proxy


@pytest.fixture
def bench(storage_url: str, proxy: FaultProxy, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(storage_url, proxy, PATIENCE, tmp_path)
    yield bench
    bench.close()


def refuse(
    proxy: FaultProxy, bench: Bench, answer: tuple[int, str], *, whole_bucket: bool = False
) -> None:
    """Let the originals' bucket answer so: downloads, or every request."""
    code, message = answer

    def refusal(request: Request) -> tuple[int, str, bytes] | None:
        download = "alt=media" in request.path
        if f"/b/{bench.originals}/" not in request.path or not (whole_bucket or download):
            return None
        if download:
            return code, "text/html; charset=UTF-8", message.encode()
        body = {"error": {"code": code, "message": message, "errors": [{"message": message}]}}
        return code, "application/json; charset=UTF-8", json.dumps(body).encode()

    proxy.refusal = refusal


@pytest.mark.parametrize("answer", [CUSTOMERS_KEY, DISABLED_KEY], ids=["csek", "kms"])
def test_an_original_that_is_refused_for_good_is_rejected_at_once(
    bench: Bench, proxy: FaultProxy, answer: tuple[int, str]
) -> None:
    run = Run(bench, NEW_PHOTO, "refused")
    refuse(proxy, bench, answer)
    assert run.deliver() == Answered("ack", REJECTED, "rejected")
    manifest = run.photo.manifest()
    assert manifest is not None
    assert manifest.rejection is not None
    assert manifest.rejection.reason == "original_forbidden"
    assert answer[1] in manifest.rejection.message


@pytest.mark.parametrize(
    ("answer", "whole_bucket"),
    [(REQUESTER_PAYS, True), (DISABLED_KEY, True), (NO_PERMISSION, True), (NO_PERMISSION, False)],
    ids=["requester-pays", "key-of-the-bucket", "bucket-forbidden", "no-permission"],
)
def test_what_an_operator_can_mend_is_no_fault_of_the_photo(
    bench: Bench, proxy: FaultProxy, answer: tuple[int, str], *, whole_bucket: bool
) -> None:
    run = Run(bench, NEW_PHOTO, "mended-later")
    refuse(proxy, bench, answer, whole_bucket=whole_bucket)
    assert run.deliver() == Answered("nack", (), "nacked")
    assert run.photo.manifest() is None
    proxy.refusal = lambda _: None
    assert run.deliver() == Answered("ack", READY, "registered")


def test_a_bucket_whose_requesters_pay_is_named_with_its_setting(
    bench: Bench, proxy: FaultProxy
) -> None:
    refuse(proxy, bench, REQUESTER_PAYS, whole_bucket=True)
    with pytest.raises(BucketUnavailable, match="WORKER_BILLING_PROJECT"):
        bench.store.check_bucket(bench.originals)


def test_each_request_names_the_billing_project(
    storage_url: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    bench = Bench(storage_url, proxy, PATIENCE, tmp_path, billing_project="payer")
    run = Run(bench, NEW_PHOTO, "paid")
    proxy.arm(0)
    assert run.deliver() == Answered("ack", READY, "registered")
    store = bench.store
    store.check_bucket(bench.originals)
    assert store.stat(bench.originals, "nothing") is None
    assert list(store.objects(bench.originals, "nothing")) == []
    assert store.delete(bench.originals, "nothing") is False
    assert [str(each) for each in proxy.requests if "userProject=payer" not in each.path] == []
    assert len(proxy.requests) > 4
    bench.close()


# --- gzip -------------------------------------------------------------------------------------


def put_encoded(photo: Photo, data: bytes) -> None:
    """An upload as `gcloud storage cp --gzip-local-all` makes it."""
    store: GcsStore = photo.bench.direct
    blob = store._blob(photo.bench.originals, f"{photo.photo_id}.jpg")
    blob.content_encoding = "gzip"
    blob.upload_from_string(data, content_type="image/jpeg")


def encoded(bench: Bench, data: bytes) -> Run:
    run = Run(bench, NEW_PHOTO, "encoded")
    bench.direct.delete(bench.originals, f"{run.photo.photo_id}.jpg")
    put_encoded(run.photo, data)
    return run


@pytest.mark.parametrize(
    "stored",
    [gzip.compress(JPEG), gzip.compress(JPEG[:5]) + gzip.compress(JPEG[5:]), JPEG],
    ids=["gzip", "two-members", "not-gzip-at-all"],
)
def test_what_is_stored_gzipped_is_unpacked(bench: Bench, stored: bytes) -> None:
    run = encoded(bench, stored)
    assert run.deliver() == Answered("ack", READY, "registered")
    manifest = run.photo.manifest()
    assert manifest is not None
    assert manifest.original is not None
    assert manifest.original.sha256 == sha256(JPEG).hexdigest()
    assert manifest.original.bytes == len(stored)


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (gzip.compress(bytes(8 << 20)), "original_too_large"),
        (gzip.compress(JPEG)[:-9], "corrupt_original"),
        (gzip.compress(JPEG)[:-6] + bytes(6), "corrupt_original"),
        (b"\x1f\x8b" + JPEG, "corrupt_original"),
        (gzip.compress(b""), "corrupt_original"),
    ],
    ids=["bomb", "cut", "other-checksum", "only-its-magic", "empty"],
)
def test_what_cannot_be_unpacked_within_the_limit(bench: Bench, stored: bytes, reason: str) -> None:
    run = encoded(bench, stored)
    assert run.deliver() == Answered("ack", REJECTED, "rejected")
    manifest = run.photo.manifest()
    assert manifest is not None
    assert manifest.rejection is not None
    assert manifest.rejection.reason == reason

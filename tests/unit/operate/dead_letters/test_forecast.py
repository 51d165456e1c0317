"""Forecast: each thing that a replay can come to."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from tests.support.fakes import MemoryStore, Once, raising
from tests.support.letters import BY_PUBSUB, BY_WORKER, event, letter
from tests.support.workers import BUCKETS, ORIGINALS, RENDITIONS, FakeWorker, deregister, register
from worker.errors import CorruptOriginal, Permanent, RenderCrashed, StorageUnavailable
from worker.operate.dead_letters.forecast import Forecast, Forecaster, Replayed
from worker.photo.dead_letter import DeadLetter
from worker.photo.ports import StoredObject
from worker.render.probe import Probed, ProbedPicture

HEADER = ProbedPicture(format="jpeg", width=800, height=600)
DEREGISTRATION = {"type": "photo.deregister", "photo_id": "a", "version": 17}


@dataclass
class Teller:
    """A forecaster over the fakes; `refused` is what the probe finds wrong."""

    worker: FakeWorker
    refused: Permanent | None = None
    probed: list[str] = field(default_factory=list)

    def __call__(self, dead: DeadLetter) -> Forecast:
        forecaster = Forecaster(
            buckets=BUCKETS,
            manifests=self.worker.manifests,
            originals=self.worker.originals,
            recipe=self.worker.renderer.recipe.fingerprint,
            probe=self._probe,
        )
        before = self.worker.store.names(RENDITIONS)
        forecast = forecaster(dead)
        assert self.worker.store.names(RENDITIONS) == before, "it only looks"
        return forecast

    def told(self, data: Any = None, attributes: dict[str, str] | None = None) -> tuple[str, str]:
        forecast = self(letter(data=data, attributes=attributes))
        return forecast.replayed.value, forecast.why

    def _probe(self, original: StoredObject) -> Probed:
        self.probed.append(original.name)
        return Probed(picture=HEADER, refused=self.refused)


@pytest.fixture
def teller(worker: FakeWorker) -> Teller:
    return Teller(worker)


def test_a_repaired_original_applies(teller: Teller) -> None:
    forecast = teller(letter())
    assert forecast.replayed is Replayed.APPLIES
    assert forecast.why == "corrupt_original does not show here: the original decodes"
    assert forecast.header == HEADER
    assert forecast.original is not None
    assert forecast.original.name == "a.jpg"
    assert forecast.manifest is None


def test_a_rejected_photo_whose_original_was_repaired_applies(teller: Teller) -> None:
    teller.worker.reject(register(17), CorruptOriginal("half"))
    forecast = teller(letter())
    assert forecast.replayed is Replayed.APPLIES
    assert forecast.manifest is not None
    assert forecast.manifest.rejection is not None


def test_an_original_that_is_as_it_was_fails_again(teller: Teller) -> None:
    teller.refused = CorruptOriginal("half")
    forecast = teller(letter(at=teller.worker.store.clock()))
    assert forecast.replayed is Replayed.FAILS_AGAIN
    assert forecast.why == "corrupt_original: half (the original has not changed since)"
    assert forecast.header == HEADER


def test_another_original_that_is_no_better(teller: Teller) -> None:
    teller.refused = CorruptOriginal("half")
    forecast = teller(letter(at=teller.worker.store.clock() - timedelta(seconds=1)))
    assert forecast.why == "corrupt_original: half"


def test_the_version_on_show_is_current(teller: Teller) -> None:
    teller.worker.do(register(17))
    assert teller.told() == ("already_current", "the manifest stands at version 17")
    assert teller.probed == []


def test_another_recipe_renders_again(teller: Teller) -> None:
    teller.worker.do(register(17))
    manifest = teller.worker.manifests.read("a")
    assert manifest is not None
    other = manifest.model_copy(update={"recipe": "another", "commit_id": "x"})
    teller.worker.manifests.commit("a", lambda _: other)
    assert teller.told()[0] == "applies"


def test_a_newer_version_supersedes(teller: Teller) -> None:
    teller.worker.do(register(18))
    assert teller.told() == ("superseded", "the manifest stands at version 18")
    assert teller.told(DEREGISTRATION)[0] == "superseded"


def test_deregistrations(teller: Teller) -> None:
    assert teller.told(DEREGISTRATION) == ("applies", "not done yet")
    teller.worker.do(deregister(17))
    assert teller.told(DEREGISTRATION)[0] == "already_current"
    assert teller.told()[0] == "superseded"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"{", "invalid_event: "),
        (event("../a"), "invalid_event: "),
        (event(original="gs://elsewhere/a.jpg"), "forbidden_source: bucket 'elsewhere'"),
        (event(original="gs://originals/none.jpg"), "original_missing: "),
        (event(generation="7"), "original_missing: "),
        (event("large"), "original_too_large: "),
    ],
    ids=["no JSON", "photo id", "bucket", "missing", "generation", "too large"],
)
def test_what_was_not_mended_fails_again(teller: Teller, data: Any, why: str) -> None:
    teller.worker.store.seed(ORIGINALS, "large.jpg", b"x" * 1001)
    replayed, told = teller.told(data)
    assert replayed == "fails_again"
    assert told.startswith(why)
    assert teller.probed == []


def test_another_upload_does_not_mend_a_pinned_generation(teller: Teller) -> None:
    hint = "(another upload is another generation: publish anew, and purge this)"
    assert teller.told(event(generation="7"))[1].endswith(hint)
    assert hint not in teller.told(event(original="gs://originals/none.jpg"))[1]


def test_an_ignored_notification(teller: Teller) -> None:
    ignored = {"eventType": "OBJECT_METADATA_UPDATE", "objectId": "a", "bucketId": "originals"}
    assert teller.told(b"", ignored) == ("ignored", "notification OBJECT_METADATA_UPDATE")


@pytest.mark.parametrize(
    "attributes",
    [
        BY_PUBSUB,
        *(BY_WORKER | {"dead_letter_reason": f"render_{it}"} for it in ("crashed", "timeout")),
    ],
)
def test_what_does_not_show_in_a_decode_is_uncertain(
    teller: Teller, attributes: dict[str, str]
) -> None:
    assert teller.told(attributes=attributes)[0] == "uncertain"


def test_a_picture_that_kills_the_probe_fails_again(teller: Teller) -> None:
    teller.refused = RenderCrashed("SIGSEGV")
    assert teller.told(attributes=BY_PUBSUB)[0] == "fails_again"


def test_a_bucket_that_does_not_answer_is_no_forecast(teller: Teller) -> None:
    store: MemoryStore = teller.worker.store
    store.before = Once("stat", "a.jpg", raising(StorageUnavailable("503")))
    with pytest.raises(StorageUnavailable):
        teller(letter())

"""A backfill over an in-memory bucket: what is published, counted, kept, and asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.fakes import MemoryStore, Once, Request, raising
from tests.support.manifests import facts_of, manifest, refusal
from worker.console.stop import Stop
from worker.errors import PublishFailed, StorageUnavailable
from worker.operate.backfill.comparison import Compared, wanted
from worker.operate.backfill.inventory import BucketInventory, FolderInventory, Inventory
from worker.operate.backfill.pages import HOPELESS, PAGE, Comparer
from worker.operate.backfill.publishing import Backfill, BackfillOptions
from worker.operate.backfill.report import BackfillReport
from worker.operate.publish import BATCH, PacedPublisher
from worker.photo.events import Buckets
from worker.photo.layout import Layout
from worker.photo.manifest import State
from worker.photo.ports import OutgoingMessage, StoredObject

LAYOUT = Layout("photos/")
BUCKETS = Buckets(originals=frozenset({"originals"}), renditions="renditions", layout=LAYOUT)
RECIPE = "webp/2 q=80"
OPTIONS = BackfillOptions(
    wanted=wanted(stale=False, only_missing=False, rejected=False),
    limit=None,
    max_events=1_000_000,
    rate=None,
    dry_run=False,
)


class Desk:
    """A bucket of originals, their manifests, and backfills of it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.sent: list[dict[str, object]] = []
        self.batches: list[int] = []
        self.failing: list[Exception] = []
        self.places: list[str] = []
        self.told: list[str] = []
        self.settled: list[Compared] = []
        self.stop: Stop = Stop()
        self.on_publish: Callable[[], object] = lambda: None
        self.inventory: Inventory = BucketInventory(
            store=self.store, bucket="originals", prefix="", buckets=BUCKETS
        )

    def original(self, name: str, data: bytes = b"12345") -> StoredObject:
        return self.store.seed("originals", name, data)

    def manifest(self, photo_id: str, state: State, version: int, **fields: object) -> None:
        made = manifest(state, version, photo_id=photo_id, **fields)
        self.store.seed("renditions", LAYOUT.manifest(photo_id), made.to_json())

    def ready(self, original: StoredObject, *, recipe: str = RECIPE, version: int = 0) -> None:
        self.manifest(
            original.name,
            State.READY,
            version or original.generation,
            original=facts_of(original),
            recipe=recipe,
            labels={"album": "hanoi"},
        )

    def publish(self, messages: Sequence[OutgoingMessage]) -> None:
        self.on_publish()
        if self.failing:
            raise self.failing.pop(0)
        self.batches.append(len(messages))
        self.sent += [json.loads(message.data) for message in messages]
        assert all(message.attributes == {"type": "photo.register"} for message in messages)

    def run(
        self,
        behind: str | None = None,
        report: BackfillReport | None = None,
        **chosen: Any,
    ) -> BackfillReport:
        options = replace(OPTIONS, **chosen)
        report = report or BackfillReport(
            source="s", bucket="originals", prefix="", recipe=RECIPE, dry_run=options.dry_run
        )
        backfill = Backfill(
            store=self.store,
            publish=PacedPublisher(
                self.publish, options.rate, wait=self.stop.wait, monotonic=lambda: 0.0
            ),
            options=options,
            report=report,
            published=self.settled.extend,
            keep=self.places.append,
            tell=self.told.append,
            stop=self.stop,
        )
        comparer = Comparer(
            self.store,
            originals="originals",
            renditions="renditions",
            layout=LAYOUT,
            recipe=RECIPE,
        )
        backfill(comparer.pages(self.inventory.items(behind)), lambda _: None)
        return report

    @property
    def photo_ids(self) -> list[object]:
        return [event["photo_id"] for event in self.sent]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def mixed(desk: Desk) -> None:
    """One original of each standing, named after it."""
    desk.original("missing.jpg")
    desk.ready(desk.original("current.jpg"))
    desk.ready(desk.original("recipe.jpg"), recipe="webp/1")
    desk.ready(desk.original("version.jpg"))
    desk.original("version.jpg", b"newer")
    tombstone = desk.original("gone.jpg")
    desk.manifest("gone.jpg", State.DEREGISTERED, tombstone.generation)
    refused = desk.original("refused.jpg").generation
    rejection = refusal(refused)
    desk.manifest("refused.jpg", State.REJECTED, refused, rejection=rejection, recipe=RECIPE)
    other = desk.original("newer.jpg")
    desk.ready(other, version=2 * other.generation)
    desk.original("newer.jpg", b"other")


@pytest.mark.parametrize(
    ("stale", "only_missing", "rejected", "expected"),
    [
        (False, False, False, ["missing.jpg", "recipe.jpg", "version.jpg"]),
        (True, False, False, ["recipe.jpg", "version.jpg"]),
        (False, True, False, ["missing.jpg"]),
        (False, False, True, ["missing.jpg", "recipe.jpg", "refused.jpg", "version.jpg"]),
        (False, True, True, ["missing.jpg", "refused.jpg"]),
    ],
)
def test_what_is_out_of_date_is_published_and_all_is_counted(
    desk: Desk, *, stale: bool, only_missing: bool, rejected: bool, expected: list[str]
) -> None:
    mixed(desk)
    chosen = wanted(stale=stale, only_missing=only_missing, rejected=rejected)
    report = desk.run(wanted=chosen)
    assert desk.photo_ids == expected
    assert report.complete
    assert (report.originals, report.names, report.published) == (7, 7, len(expected))
    assert (report.missing, report.stale_version, report.stale_recipe) == (1, 1, 1)
    assert (report.current, report.newer, report.rejected, report.deregistered) == (1, 1, 1, 1)
    assert (report.bytes, report.published_bytes) == (35, 5 * len(expected))


def test_a_dry_run_counts_the_same_and_publishes_nothing(desk: Desk) -> None:
    mixed(desk)
    report = desk.run(dry_run=True)
    assert (report.published, report.missing, desk.sent) == (3, 1, [])
    assert [each.original.name for each in desk.settled] == [
        *("missing.jpg", "recipe.jpg", "version.jpg")
    ]


def test_a_bucket_of_which_nothing_was_made_costs_two_listings_a_page(desk: Desk) -> None:
    for number in range(PAGE):
        desk.original(f"album-{number // 7}/{number:04}.jpg")
    desk.run()
    assert len(desk.sent) == PAGE
    verbs = [request.verb for request in desk.store.requests]
    # A full page of names is asked for its successor once.
    assert sorted(verbs) == ["list"] * 3


def test_where_little_was_made_little_is_read(desk: Desk) -> None:
    for number in range(300):
        original = desk.original(f"p{number:04}.jpg")
        if number in {0, 150, 299}:
            desk.ready(original)
            for rung in range(9):
                desk.store.seed("renditions", f"photos/{original.name}/1-abc/{rung}.webp", b"")
    report = desk.run()
    assert (report.current, report.missing) == (3, 297)
    assert len(desk.store.asked("read")) == 3


def test_behind_the_first_page_of_output_every_manifest_is_asked_for(desk: Desk) -> None:
    for number in range(200):
        original = desk.original(f"p{number:04}.jpg")
        if number != 150:
            desk.ready(original)
            for rung in range(9):
                desk.store.seed("renditions", f"photos/{original.name}/1-abc/{rung}.webp", b"")
    report = desk.run()
    assert (report.current, report.missing) == (199, 1)


def test_names_that_nest_are_told_apart_by_the_listing(desk: Desk) -> None:
    for name in ("a", "a-b", "a.b", "a/b", "a/1-3fd0c1a2b4e5", "b"):
        original = desk.original(name)
        if name in {"a", "a/b", "b"}:
            desk.ready(original)
    report = desk.run()
    assert sorted(map(str, desk.photo_ids)) == ["a-b", "a.b", "a/1-3fd0c1a2b4e5"]
    assert report.current == 3


def test_a_limit_ends_the_run_where_the_next_goes_on(desk: Desk) -> None:
    mixed(desk)
    report = desk.run(limit=1)
    assert (desk.photo_ids, report.complete, report.stopped_by) == (["missing.jpg"], False, "limit")
    assert report.exit_code == 0
    # What lies before the next event was dealt with: the next run need not look at it.
    assert desk.places[-1] == "newer.jpg"
    report = desk.run(desk.places[-1], report, limit=1)
    report = desk.run(desk.places[-1], report, limit=1)
    assert desk.photo_ids == ["missing.jpg", "recipe.jpg", "version.jpg"]
    assert (report.complete, report.originals, report.published) == (True, 7, 3)


def test_a_limit_that_is_just_met_is_no_stop(desk: Desk) -> None:
    mixed(desk)
    assert desk.run(limit=3).complete


def test_the_cap_counts_all_parts_of_a_run_and_fails_it(desk: Desk) -> None:
    mixed(desk)
    report = desk.run(max_events=2)
    assert (len(desk.sent), report.stopped_by, int(report.exit_code)) == (2, "max_events", 7)
    again = desk.run(desk.places[-1], report, max_events=2)
    assert (len(desk.sent), again.stopped_by) == (2, "max_events")
    assert desk.run(desk.places[-1], report, max_events=3).complete


def test_events_go_in_batches_and_a_place_is_kept_behind_each(desk: Desk) -> None:
    for number in range(2 * BATCH + 1):
        desk.original(f"{number:05}.jpg")
    seen: list[tuple[int, str | None]] = []
    desk.on_publish = lambda: seen.append(
        (len(desk.sent), desk.places[-1] if desk.places else None)
    )
    desk.run()
    assert desk.batches == [BATCH, BATCH, 1]
    assert seen == [
        (0, None),
        (BATCH, f"{BATCH - 1:05}.jpg"),
        (2 * BATCH, f"{2 * BATCH - 1:05}.jpg"),
    ]


def test_a_batch_that_is_not_confirmed_is_published_again(desk: Desk) -> None:
    desk.original("a.jpg")
    desk.failing = [PublishFailed("t: no confirmation")]
    desk.stop = _Impatient()
    assert desk.run().complete
    assert desk.photo_ids == ["a.jpg"]


def test_what_is_never_confirmed_is_neither_counted_nor_passed(desk: Desk) -> None:
    for name in ("a.jpg", "b.jpg"):
        desk.original(name)
    desk.failing = [PublishFailed("t: no confirmation")] * 9
    desk.stop = _Impatient()
    report = BackfillReport(source="s", bucket="originals", prefix="", recipe=RECIPE)
    with pytest.raises(PublishFailed):
        desk.run(report=report)
    assert (report.published, report.originals, desk.places) == (0, 0, [])
    assert len(desk.failing) == 4  # the first attempt, and one behind each pause


class _Impatient(Stop):
    """Pauses that take no time."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        return False


def test_the_rate_spreads_the_events(desk: Desk) -> None:
    for number in range(5):
        desk.original(f"{number}.jpg")
    desk.stop = impatient = _Impatient()
    assert desk.run(rate=2).complete
    assert desk.batches == [2, 2, 1]
    assert impatient.pauses == [1.0, 1.0]


def test_a_stop_finishes_the_batch_under_way(desk: Desk) -> None:
    for number in range(2 * BATCH):
        desk.original(f"{number:05}.jpg")
    desk.on_publish = desk.stop.ask
    report = desk.run()
    assert (report.stopped_by, report.complete) == ("signal", False)
    assert len(desk.sent) == report.published == report.originals
    assert report.published < 2 * BATCH
    assert desk.places[-1] == f"{report.published - 1:05}.jpg"


def test_what_fails_is_named_and_the_others_go_on(desk: Desk) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg", "d//d.jpg", "e.jpg"):
        desk.original(name)
    desk.store.seed("renditions", LAYOUT.manifest("a.jpg"), b"no manifest")
    desk.ready(desk.original("b.jpg"))
    fail = Once("read", "b.jpg/manifest.json", raising(StorageUnavailable("503")))
    desk.store.before = fail
    desk.manifest("x.jpg", State.READY, 1)
    entry = desk.store.entry("renditions", LAYOUT.manifest("x.jpg"))
    assert entry is not None
    desk.store.seed("renditions", LAYOUT.manifest("c.jpg"), entry.data)
    report = desk.run()
    assert desk.photo_ids == ["e.jpg"]
    assert int(report.exit_code) == 7
    assert [each["object"] for each in report.failures] == ["a.jpg", "b.jpg", "c.jpg", "d//d.jpg"]
    assert [each["message"].partition(":")[0] for each in report.failures] == [
        "UnreadableManifest",
        "StorageUnavailable",
        "its manifest is of 'x.jpg'",
        "can be no photo",
    ]
    assert report.failures_total == len(desk.told) == 4


def test_what_no_worker_would_accept_fails_alone(desk: Desk) -> None:
    # Manifests that no worker wrote: each would be an event that every worker refuses.
    desk.original("a.jpg")
    desk.ready(desk.original("above.jpg"), recipe="old", version=2**63)
    desk.ready(desk.original("below.jpg"), recipe="old", version=-5)
    desk.original("z.jpg")
    report = desk.run()
    assert desk.photo_ids == ["a.jpg", "z.jpg"]
    assert [each["object"] for each in report.failures] == ["above.jpg", "below.jpg"]
    assert all("version" in each["message"] for each in report.failures)
    assert (report.published, report.complete, desk.places) == (2, True, ["z.jpg"])


def test_a_page_of_bad_manifests_is_no_silent_bucket(desk: Desk) -> None:
    bad = [f"p{number:02}.jpg" for number in range(HOPELESS)]
    for name in bad:
        desk.original(name)
        desk.store.seed("renditions", LAYOUT.manifest(name), b"half a manif")
    report = desk.run()
    assert (report.complete, report.failures_total) == (True, len(bad))


def test_a_bucket_that_answers_nothing_ends_the_run(desk: Desk) -> None:
    for number in range(HOPELESS):
        desk.ready(desk.original(f"{number:04}.jpg"))

    def refuse(request: Request) -> None:
        if request.verb == "read":
            raise StorageUnavailable("503")

    desk.store.before = refuse
    with pytest.raises(StorageUnavailable, match=r"none of 50 originals in a row: .*503"):
        desk.run()
    assert desk.places == []


@pytest.fixture
def album(desk: Desk, tmp_path: Path) -> Path:
    for name in ("a.jpg", "sub/b.JPG", "sub/c.png"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(name.encode())
    desk.inventory = FolderInventory(folder=tmp_path, bucket="originals", buckets=BUCKETS)
    return tmp_path


def test_a_folder_is_uploaded_and_then_registered(desk: Desk, album: Path) -> None:
    report = desk.run()
    assert desk.photo_ids == ["a.jpg", "sub/b.JPG", "sub/c.png"]
    assert (report.uploaded, report.uploaded_bytes, report.replaced) == (3, 23, 0)
    for event in desk.sent:
        stored = desk.store.stat("originals", str(event["photo_id"]))
        assert stored is not None
        assert (event["generation"], event["version"]) == (
            str(stored.generation),
            stored.generation,
        )
    entry = desk.store.entry("originals", "sub/b.JPG")
    assert entry is not None
    assert (entry.data, entry.content_type) == (b"sub/b.JPG", "image/jpeg")
    assert album.exists()


def test_the_same_bytes_are_not_uploaded_again(desk: Desk, album: Path) -> None:
    desk.run()
    generations = [each["generation"] for each in desk.sent]
    report = desk.run()
    assert (report.uploaded, report.published) == (0, 3)
    assert [each["generation"] for each in desk.sent] == generations * 2
    for event in desk.sent[:3]:
        stored = desk.store.stat("originals", str(event["photo_id"]))
        assert stored is not None
        desk.ready(stored)
    report = desk.run()
    assert (report.current, report.published) == (3, 0)
    assert album.exists()


def test_other_bytes_of_the_same_size_replace_and_it_is_told(desk: Desk, album: Path) -> None:
    old = desk.original("a.jpg", b"A.JPG")
    desk.ready(old, version=10 * old.generation)
    report = desk.run()
    assert (report.uploaded, report.replaced, report.stale_version) == (3, 1, 1)
    [told] = desk.told
    assert told == f"replaced gs://originals/a.jpg (generation {old.generation})"
    # Its manifest is of a version far above any generation: the event counts all the same.
    assert desk.sent[0]["version"] == 10 * old.generation + 1
    assert desk.sent[0]["labels"] == {"album": "hanoi"}
    assert album.exists()


def test_a_dry_run_uploads_nothing_and_knows_what_it_would(desk: Desk, album: Path) -> None:
    report = desk.run(dry_run=True)
    assert (report.published, report.uploaded, report.published_bytes) == (3, 0, 23)
    assert desk.store.names("originals") == []
    assert desk.settled[0].file == album / "a.jpg"


def test_a_file_that_cannot_be_uploaded_fails_alone(desk: Desk, album: Path) -> None:
    desk.store.before = Once("write", "sub/b.JPG", raising(StorageUnavailable("503")))
    desk.store.after = Once("stat", "c.png", (album / "sub" / "c.png").unlink)
    report = desk.run()
    assert desk.photo_ids == ["a.jpg"]
    assert [each["object"] for each in report.failures] == ["sub/b.JPG", "sub/c.png"]
    assert int(report.exit_code) == 7


def test_no_file_beyond_the_limit_is_uploaded(desk: Desk, album: Path) -> None:
    desk.run(limit=1)
    assert desk.store.names("originals") == ["a.jpg"]
    assert album.exists()

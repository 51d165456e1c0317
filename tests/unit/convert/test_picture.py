"""One picture, judged, rendered by a stand-in, and placed in a real folder."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.fakes import FakeRenderer
from worker.console.stop import Stop
from worker.convert.names import Naming
from worker.convert.outcomes import (
    Converted,
    Failed,
    Found,
    Known,
    Outcome,
    OutputFails,
    PassedOver,
    RunEnd,
    Unchanged,
)
from worker.convert.output import OutputFolder
from worker.convert.picture import Pictures, Plan
from worker.convert.placing import Placer
from worker.convert.state import StateFile
from worker.errors import CorruptOriginal, Draining, RenderCrashed, RenderTimeout, SlotUnavailable
from worker.photo.ladder import Ladder
from worker.photo.limits import Limits


class Bench:
    """One output, converted into again and again, a run for each `convert`."""

    def __init__(
        self, folder: Path, *, sizes: str = "320,full", keep_smaller: bool = False
    ) -> None:
        self.originals = folder / "in"
        self.originals.mkdir()
        self.output = OutputFolder(folder / "out")
        self.output.open()
        self.state = StateFile(self.output.hidden / "state")
        self.renderer = FakeRenderer((800, 600))
        self.plan = Plan(
            originals=str(self.originals),
            naming=Naming.of(Ladder.exactly(sizes), "webp"),
            made="fake",
            keep_smaller=keep_smaller,
            limits=Limits(max_original_bytes=1000, max_original_pixels=1_000_000),
        )

    def add(self, name: str, data: bytes = b"bytes") -> Found:
        file = self.originals / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return self.found(name)

    def found(self, name: str) -> Found:
        file = self.originals / name
        status = file.stat()
        return Found(
            name=name, path=str(file), size_bytes=status.st_size, mtime_ns=status.st_mtime_ns
        )

    def pictures(self) -> Pictures:
        recipe = dataclasses.replace(
            self.renderer.recipe,
            ladder=Ladder.exactly("full" if self.plan.naming.single else "320,full"),
        )
        self.renderer._recipe = recipe
        return Pictures(self.plan, self.output, self.state, lambda: self.renderer)

    def convert(self, *found: Found) -> list[Outcome]:
        """What they come to, in any order; raises what would end the run."""
        told: list[Outcome] = []
        end = RunEnd(Stop())
        placer = Placer(self.output, self.state, self.plan.made, end, told.append)
        placer.start()
        pictures = self.pictures()
        try:
            for each in found:
                judged = pictures.judge(each)
                if judged is not None:
                    told.append(judged)
                    continue
                outcome = pictures.convert(each)
                if isinstance(outcome, Converted | Unchanged):
                    placer.put(outcome)
                else:
                    told.append(outcome)
        finally:
            placer.finish()
        if end.fatal is not None:
            raise end.fatal
        return told

    def one(self, found: Found) -> Outcome:
        (outcome,) = self.convert(found)
        return outcome

    def files(self) -> dict[str, bytes]:
        out = self.output.root
        return {
            str(path.relative_to(out)): path.read_bytes()
            for path in out.rglob("*")
            if path.is_file() and self.output.hidden not in path.parents
        }


MakeBench = Callable[..., Bench]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[MakeBench]:
    made = []

    def make(**options: object) -> Bench:
        made.append(Bench(tmp_path, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.state.close()
        each.output.close()
        assert list(each.output.hidden.iterdir()) == [each.output.hidden / "state"]


def reason(outcome: Outcome) -> str:
    assert isinstance(outcome, Failed), outcome
    return outcome.reason


def test_what_is_current_is_not_even_opened(bench: MakeBench) -> None:
    here = bench()
    found = here.add("a.jpg")
    assert isinstance(here.one(found), Converted)
    Path(found.path).unlink()
    assert isinstance(here.one(found), Unchanged)
    assert len(here.renderer.rendered) == 1


def test_another_time_and_the_same_bytes_are_read_once(bench: MakeBench) -> None:
    here = bench()
    here.one(here.add("a.jpg"))
    os.utime(here.originals / "a.jpg", ns=(5, 5))
    assert isinstance(here.one(here.found("a.jpg")), Unchanged)
    found = here.found("a.jpg")
    Path(found.path).unlink()
    assert isinstance(here.one(found), Unchanged)
    assert len(here.renderer.rendered) == 1


def test_a_recipe_that_changes_renders_again(bench: MakeBench) -> None:
    here = bench()
    found = here.add("a.jpg")
    here.one(found)
    here.plan = dataclasses.replace(here.plan, made="another")
    here.renderer.salt = b"new "
    assert isinstance(here.one(found), Converted)
    assert all(data.startswith(b"new ") for data in here.files().values())


def test_what_fails_keeps_its_old_renditions(bench: MakeBench) -> None:
    here = bench()
    here.one(here.add("a.jpg"))
    before = here.files()
    here.renderer.errors = [CorruptOriginal("half of it is missing")]
    assert reason(here.one(here.add("a.jpg", b"worse bytes"))) == "corrupt_original"
    assert here.files() == before


def test_a_crash_is_tried_once_more(bench: MakeBench) -> None:
    here = bench()
    here.renderer.errors = [RenderCrashed("a neighbour"), None]
    assert isinstance(here.one(here.add("a.jpg")), Converted)
    here.renderer.errors = [RenderCrashed("again"), RenderCrashed("and again")]
    assert reason(here.one(here.add("b.jpg"))) == "render_crashed"
    here.renderer.errors = [RenderTimeout("a minute"), None]
    assert reason(here.one(here.add("c.jpg"))) == "render_timeout"


def test_what_is_too_large_or_empty_is_not_read(bench: MakeBench) -> None:
    here = bench()
    assert reason(here.one(here.add("a.jpg", bytes(1001)))) == "original_too_large"
    assert reason(here.one(here.add("b.jpg", b""))) == "corrupt_original"
    assert here.renderer.rendered == []


def test_what_vanishes_is_told(bench: MakeBench) -> None:
    here = bench()
    found = here.add("a.jpg")
    Path(found.path).unlink()
    assert reason(here.one(found)) == "original_missing"
    os.mkfifo(found.path)
    assert reason(here.one(found)) == "unreadable"


def test_a_companion_of_a_mac_is_no_picture(bench: MakeBench) -> None:
    here = bench()
    assert isinstance(here.one(here.add("._a.jpg", b"\x00\x05\x16\x07 and so on")), PassedOver)


def test_what_cannot_be_rendered_here_ends_the_run(bench: MakeBench) -> None:
    here = bench()
    full = f"a rendition cannot be written: [Errno 28] {os.strerror(errno.ENOSPC)}"
    for said, match in ((full, "is full"), ("no processes", "can be rendered any more: no proc")):
        here.renderer.errors = [SlotUnavailable(said)] * 2
        with pytest.raises(OutputFails, match=match):
            here.one(here.add("a.jpg"))
    here.renderer.errors = [Draining("stopped")]
    with pytest.raises(Draining):
        here.one(here.add("a.jpg"))


def test_a_disk_that_is_full_ends_the_run_and_nothing_after_it_is_placed(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = bench(sizes="full")
    rename = os.rename

    def full(source: str, target: str) -> None:
        if "b.jpg" in target:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rename(source, target)

    monkeypatch.setattr(os, "rename", full)
    found = [here.add(f"{name}.jpg", name.encode()) for name in "abc"]
    with pytest.raises(OutputFails, match="is full"):
        here.convert(*found)
    monkeypatch.undo()
    assert "b.jpg.webp" not in here.files()
    here.convert(*found)
    assert here.files().keys() == {"a.jpg.webp", "b.jpg.webp", "c.jpg.webp"}


def test_names_that_are_one_on_this_disk_collide(bench: MakeBench) -> None:
    here = bench()
    here.output.folds = True
    first, second = here.add("a.JPG", b"1"), here.add("A.jpg", b"2")
    outcomes = here.convert(first, second)
    assert sorted(type(each).__name__ for each in outcomes) == ["Converted", "Failed"]
    assert isinstance(here.one(first), Unchanged)
    assert reason(here.one(second)) == "name_collision"
    Path(first.path).unlink()
    assert isinstance(here.one(second), Converted)


def test_an_original_is_not_kept_where_anothers_rendition_lies(bench: MakeBench) -> None:
    """Whichever is finished first: the names alone decide."""
    here = bench(sizes="full", keep_smaller=True)
    both = [here.add("a.webp.webp", b"larger"), here.add("a.webp", b"some bytes")]
    outcomes = {
        each.found.name: each for each in here.convert(*both) if isinstance(each, Converted)
    }
    assert {name: each.kept for name, each in outcomes.items()} == {
        "a.webp": True,
        "a.webp.webp": False,
    }
    assert here.files() == {
        "a.webp": b"some bytes",
        "a.webp.webp.webp": b"full of larger",
    }


def test_an_original_that_lies_there_already_is_not_taken_over(bench: MakeBench) -> None:
    here = bench(sizes="full", keep_smaller=True)
    found = here.add("a.jpg", b"some bytes")
    (here.output.root / "a.jpg").write_bytes(b"some bytes")
    assert reason(here.one(found)) == "name_taken"


def test_a_link_in_the_way_is_neither_followed_nor_replaced(bench: MakeBench) -> None:
    here = bench(sizes="full")
    (here.output.root / "a.jpg.webp").symlink_to(here.originals / "b")
    assert reason(here.one(here.add("a.jpg"))) == "name_taken"
    assert not (here.originals / "b").exists()


@pytest.mark.parametrize(
    ("sizes", "linked"), [("full", "sub"), ("320,full", "sub"), ("320,full", "sub/a.jpg")]
)
def test_nothing_is_written_through_a_link(bench: MakeBench, sizes: str, linked: str) -> None:
    here = bench(sizes=sizes)
    elsewhere = here.originals.parent / "elsewhere"
    elsewhere.mkdir()
    link = here.output.root / linked
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(elsewhere)
    outcome = here.one(here.add("sub/a.jpg"))
    assert reason(outcome) == "name_taken"
    assert isinstance(outcome, Failed)
    assert outcome.message.startswith(f"{link} is a link")
    assert list(elsewhere.iterdir()) == []


def test_nothing_is_removed_through_a_link(bench: MakeBench) -> None:
    here = bench()
    found = here.add("a.jpg")
    here.one(found)
    elsewhere = here.originals.parent / "elsewhere"
    ladder = here.output.root / "a.jpg"
    ladder.rename(elsewhere)
    ladder.symlink_to(elsewhere)
    here.plan = dataclasses.replace(
        here.plan, naming=Naming.of(Ladder.exactly("full"), "webp"), made="single"
    )
    assert reason(here.one(found)) == "name_taken"
    assert sorted(path.name for path in elsewhere.iterdir()) == ["320.webp", "full.webp"]


def test_a_state_that_names_files_elsewhere_removes_none(bench: MakeBench) -> None:
    here = bench()
    victim = here.originals.parent / "victim"
    victim.write_text("somebody's")
    found = here.add("a.jpg")
    here.one(found)
    known = here.state.find("a.jpg")
    assert known is not None
    hostile = Known(content=known.content, made="x", files={**known.files, "/../../victim": 1})
    here.state.write([("a.jpg", hostile)])
    with pytest.raises(OutputFails, match=r"names files that are none of 'a\.jpg'"):
        here.one(found)
    assert victim.exists()


def test_a_file_in_the_place_of_a_folder_is_told(bench: MakeBench) -> None:
    here = bench()
    (here.output.root / "sub").write_text("somebody's")
    assert reason(here.one(here.add("sub/a.jpg"))) == "name_taken"


@pytest.mark.parametrize("sizes", ["full", "320,full"])
@pytest.mark.parametrize("name", [".photo-worker/a.jpg", "summary.json/a.jpg", "failures.jsonl/b"])
def test_no_rendition_lies_below_what_convert_writes_itself(
    bench: MakeBench, sizes: str, name: str
) -> None:
    here = bench(sizes=sizes)
    assert reason(here.one(here.add(name))) == "name_collision"


def test_what_convert_writes_itself_is_known_on_a_disk_that_ignores_case(bench: MakeBench) -> None:
    here = bench()
    assert isinstance(here.one(here.add("Summary.JSON", b"1")), Converted)
    here.output.folds = True
    assert reason(here.one(here.add("SUMMARY.json", b"2"))) == "name_collision"


def test_a_ladder_gives_way_to_a_kept_original(bench: MakeBench) -> None:
    here = bench(keep_smaller=True)
    found = here.add("a.jpg", b"some bytes")
    assert isinstance(here.one(found), Converted)
    assert "a.jpg/full.jpg" in here.files()
    here.plan = dataclasses.replace(
        here.plan, naming=Naming.of(Ladder.exactly("full"), "webp"), made="single"
    )
    theirs = here.output.root / "a.jpg" / "theirs"
    theirs.write_bytes(b"somebody's")
    assert reason(here.one(found)) == "name_taken"
    assert {"a.jpg/full.jpg", "a.jpg/theirs"} <= here.files().keys()
    theirs.unlink()
    assert isinstance(here.one(found), Converted)
    assert here.files() == {"a.jpg": b"some bytes"}

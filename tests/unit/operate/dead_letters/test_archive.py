"""Archives: what is written can be read and replayed from; anything else is refused by its line."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.letters import BY_PUBSUB, letter
from worker.errors import InvalidArchive, UsageFault
from worker.operate.dead_letters.archive import Archive, ArchiveWriter


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "dead.jsonl"


def test_what_is_written_is_read_back(file: Path) -> None:
    kept = [
        letter("1"),
        letter("2", b"\xff", BY_PUBSUB, ordering_key="k"),
        letter("3", b'{"photo_id": "\\ud800 half a pair"}'),
        letter("4", '{"photo_id": "Hà Nội\\nand more"}'.encode()),
    ]
    with closing(ArchiveWriter(file)) as writer:
        for each in kept:
            writer.write(each)
        writer.sync()
        assert list(Archive(file).letters()) == kept
    assert list(Archive(file).pages()) == [kept]
    assert len(file.read_text().splitlines()) == 4
    assert file.stat().st_mode & 0o077 == 0


def test_an_archive_is_read_in_pages_and_keeps_its_letters(file: Path) -> None:
    with closing(ArchiveWriter(file)) as writer:
        for number in range(1100):
            writer.write(letter(str(number)))
    archive = Archive(file)
    assert [len(page) for page in archive.pages()] == [500, 500, 100]
    archive.ack([letter("1")])
    assert [len(page) for page in archive.pages()] == [500, 500, 100]


def test_nothing_is_overwritten(file: Path) -> None:
    file.write_text("precious")
    with pytest.raises(UsageFault, match="exists already"):
        ArchiveWriter(file)
    assert file.read_text() == "precious"
    with pytest.raises(UsageFault, match="No such file or directory"):
        ArchiveWriter(file.parent / "nowhere" / "dead.jsonl")


def test_an_archive_that_was_not_needed(file: Path) -> None:
    with closing(ArchiveWriter(file)) as writer:
        writer.write(letter())
        writer.discard()
    assert not file.exists()


@pytest.mark.parametrize(
    "line", ["{", "7", "[]", "{}", '{"message_id": "1"}', "[" * 100_000], ids=lambda line: line[:9]
)
def test_a_line_that_is_none_is_named_before_anything_is_replayed(file: Path, line: str) -> None:
    good = json.dumps(letter().as_dict()) + "\n"
    file.write_text(f"{good * 600}\n{line}\n")
    with pytest.raises(InvalidArchive, match="line 602"):
        next(Archive(file).pages())


@pytest.mark.parametrize(
    "change",
    [
        {"message_id": "\ud800"},
        {"ordering_key": "\ud800"},
        {"attributes": {"\ud800": ""}},
        {"attributes": {"tenant": "\ud800"}},
    ],
    ids=["id", "ordering key", "attribute", "value"],
)
def test_half_a_surrogate_pair_is_no_text_either(file: Path, change: dict[str, object]) -> None:
    file.write_text(json.dumps(letter().as_dict() | change))
    with pytest.raises(InvalidArchive, match=r"line 1: .*surrogates not allowed"):
        next(Archive(file).pages())


def test_a_full_disk(file: Path) -> None:
    writer = ArchiveWriter(file)
    # All that is written goes to where there never is any room.
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, writer._lines.fileno())
    os.close(full)
    writer.write(letter())
    with pytest.raises(UsageFault, match=r"cannot write the archive .*: No space left"):
        writer.sync()
    with pytest.raises(UsageFault, match="No space left"):
        writer.close()


def test_what_is_no_text(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidArchive, match=r"dead\.jsonl"):
        next(Archive(file).pages())


def test_no_file(file: Path) -> None:
    with pytest.raises(UsageFault, match="cannot read the archive"):
        next(Archive(file).pages())


def test_an_empty_file(file: Path) -> None:
    file.write_text("\n")
    assert list(Archive(file).pages()) == []

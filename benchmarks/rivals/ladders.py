"""The renditions that contenders have made of photos: a folder for each, a file for each rung."""

from __future__ import annotations

import re
from pathlib import Path

from worker.lab.bench.figures import in_order
from worker.lab.bench.photos import Photo

_NAME = re.compile(r"[^a-z0-9]+")


class Ladders:
    """A folder for each contender and photo, below one."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._numbers: dict[str, int] = {}

    @property
    def root(self) -> Path:
        """What all of them lie in."""
        return self._root

    def folder(self, contender: str, photo: Photo) -> Path:
        """Where this contender's renditions of this photo lie."""
        number = self._numbers.setdefault(photo.name, len(self._numbers))
        folder = self._root / _NAME.sub("-", contender.lower()) / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def files(self, contender: str, photo: Photo) -> dict[str, Path]:
        """The files by rung, smallest rung first."""
        found = {path.stem: path for path in self.folder(contender, photo).glob("*.webp")}
        return {rung: found[rung] for rung in in_order(found)}

    def sizes(self, contender: str, photo: Photo) -> dict[str, int]:
        """Bytes by rung, smallest rung first."""
        return {rung: path.stat().st_size for rung, path in self.files(contender, photo).items()}

"""The contenders: how each is run, and what to install for those that are absent."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.errors import UsageFault
from worker.lab.bench.facts import request_of
from worker.lab.bench.photos import Photo
from worker.settings.settings import Settings
from worker.system import interpreter

EQUAL_EFFORT = 4
"""What all rivals encode with: the default of libwebp, sharp, Pillow and libvips alike."""

OURS = "ours"
OURS_EQUAL = "ours at equal effort"
SHARP = "sharp, clone()"
PILLOW = "Pillow"
THUMBNAIL = "vipsthumbnail per rung"
PYVIPS = "pyvips thumbnail per rung"

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way to make a ladder of a photo, as processes that do it.

    `program` is a command that takes a request as its last argument (see `contender`); without one
    it is `vipsthumbnail`, a command for each rung.
    """

    name: str
    settings: Mapping[str, Any]
    program: Sequence[str] = ()

    def commands(self, photo: Photo | None, folder: Path, rungs: Sequence[str]) -> list[list[str]]:
        """What makes these rungs of a photo in a folder; for `None`, an empty run."""
        if self.program:
            request = {
                **self.settings,
                "photo": str(photo.file) if photo else None,
                "has_profile": photo is not None and photo.has_profile,
                "folder": str(folder),
            }
            return [[*self.program, json.dumps(request)]]
        if photo is None:
            return [["vipsthumbnail", "--version"]]
        return [self._thumbnail(photo, folder, rung) for rung in rungs]

    def _thumbnail(self, photo: Photo, folder: Path, rung: str) -> list[str]:
        # Not enlarged (`>`), and so large that `full` is the photo's own size.
        box = 100_000 if rung == "full" else int(rung)
        saved = f"Q={self.settings['quality']},effort={self.settings['effort']},strip"
        return [
            *("vipsthumbnail", str(photo.file), "--size", f"{box}x{box}>"),
            # Without a profile it would convert all the same, at a high price.
            *(("--export-profile", "srgb") if photo.has_profile else ()),
            *("--output", f"{folder / rung}.webp[{saved}]"),
        ]


def ours(settings: Settings, name: str = OURS, **other: object) -> Contender:
    """The worker's renderer with these settings, some of them replaced."""
    request = {
        "way": "ours",
        **request_of(settings),
        **other,
    }
    return Contender(name=name, settings=request, program=_python())


def find_contenders(
    settings: Settings, environment: Mapping[str, str], sharp: Path | None
) -> tuple[list[Contender], dict[str, str]]:
    """Those that can run here, ours first, and by name what to install for the others.

    Raises:
        UsageFault: `sharp` is given, and holds something else.
    """
    request = {**request_of(settings), "effort": EQUAL_EFFORT, "full_effort": EQUAL_EFFORT}
    found = [
        ours(settings),
        ours(settings, OURS_EQUAL, effort=EQUAL_EFFORT, full_effort=EQUAL_EFFORT),
    ]
    absent = {}
    path = environment.get("PATH", "")
    node, package = shutil.which("node", path=path), find_sharp(environment, sharp)
    if sharp and not package:
        raise UsageFault(f"--sharp {sharp}: no sharp lies there; npm install sharp")
    if node and package:
        program = (node, str(_HERE / "sharp_clone.cjs"))
        found.append(
            Contender(name=SHARP, settings={**request, "sharp": str(package)}, program=program)
        )
    elif node:
        absent[SHARP] = "npm install sharp, then --sharp FOLDER or NODE_PATH"
    else:
        absent[SHARP] = "install Node and npm's sharp"
    if importlib.util.find_spec("PIL"):
        found.append(
            Contender(name=PILLOW, settings={**request, "way": "pillow"}, program=_python())
        )
    else:
        absent[PILLOW] = "install the Python package pillow"
    if shutil.which("vipsthumbnail", path=path):
        found.append(Contender(name=THUMBNAIL, settings=request))
    else:
        found.append(
            Contender(name=PYVIPS, settings={**request, "way": "one_by_one"}, program=_python())
        )
        absent[THUMBNAIL] = f"install libvips' tools; meanwhile: {PYVIPS}, in one process"
    return found, absent


def find_sharp(environment: Mapping[str, str], given: Path | None) -> Path | None:
    """The folder of npm's sharp: in `given`, in NODE_PATH, or in ./node_modules."""
    places: Iterable[Path] = (
        (given, given / "sharp", given / "node_modules" / "sharp")
        if given
        else (
            *(Path(each, "sharp") for each in environment.get("NODE_PATH", "").split(":") if each),
            Path("node_modules", "sharp"),
        )
    )
    return next((each.resolve() for each in places if _is_sharp(each)), None)


def _is_sharp(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / "package.json").read_text())["name"] == "sharp")
    except (OSError, ValueError, KeyError):
        return False


def _python() -> tuple[str, ...]:
    return tuple(interpreter.command("benchmarks.rivals.contender"))

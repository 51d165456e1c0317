"""The rivals written in Python: one original to one folder of rungs, each its own way.

    python -m benchmarks.rivals.contender REQUEST

REQUEST is JSON: {"way": "ours", "photo": path or null, "has_profile": false, "folder": path,
"ladder": "320,full", "quality": 80, "effort": 4, "full_effort": 4, "only": ["320"]}. Without a
photo it only starts up and imports, to be subtracted; `only` ends it after these rungs. It prints
{"versions": {...}}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worker.photo.ladder import Ladder

Render = Callable[[], None]
Way = tuple[dict[str, str], Render]


def ours(request: dict[str, Any]) -> Way:
    """The worker's renderer."""
    from worker.lab.bench import subject
    from worker.photo.looks import Looks

    encoding = Looks(
        quality=request["quality"], effort=request["effort"], full_effort=request["full_effort"]
    )

    def render() -> None:
        data = Path(request["photo"]).read_bytes()
        wanted = set(request.get("only") or ())
        for size, encoded in subject.render(data, _ladder(request), encoding):
            _write(request, size.rung, encoded)
            wanted.discard(size.rung)
            if request.get("only") and not wanted:
                return

    return {"codec": subject.codec()}, render


def pillow(request: dict[str, Any]) -> Way:
    """Pillow: decode once, resize the original for each rung with its best filter."""
    import PIL
    from PIL import Image, ImageOps, features

    def render() -> None:
        Image.MAX_IMAGE_PIXELS = None
        with Image.open(request["photo"]) as opened:
            upright = ImageOps.exif_transpose(_in_srgb(opened))
        image = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
        for size in _ladder(request).sizes(*image.size):
            box = (size.width, size.height)
            sized = image if box == image.size else image.resize(box, Image.Resampling.LANCZOS)
            path = Path(request["folder"], f"{size.rung}.webp")
            # What it has read of the original would go along: EXIF with the place it was taken.
            nothing: dict[str, Any] = {"exif": b"", "icc_profile": None, "xmp": b""}
            sized.save(path, quality=request["quality"], method=request["effort"], **nothing)

    return {"pillow": PIL.__version__, "webp": str(features.version("webp"))}, render


def one_by_one(request: dict[str, Any]) -> Way:
    """What one `vipsthumbnail` per rung does, in one process: each rung from the file anew."""
    import pyvips

    pyvips.cache_set_max(0)

    def render() -> None:
        photo = request["photo"]
        colours = {"export_profile": "srgb"} if request["has_profile"] else {}
        opened = pyvips.Image.new_from_file(photo)
        for size in _ladder(request).sizes(*_upright(opened)):
            longest = max(size.width, size.height)
            pyvips.Image.thumbnail(photo, longest, height=longest, size="down", **colours).webpsave(
                str(Path(request["folder"], f"{size.rung}.webp")),
                Q=request["quality"],
                effort=request["effort"],
                keep="none",
            )

    version = ".".join(str(pyvips.version(part)) for part in range(3))
    return {"libvips": version, "pyvips": pyvips.__version__}, render


WAYS: dict[str, Callable[[dict[str, Any]], Way]] = {
    "ours": ours,
    "pillow": pillow,
    "one_by_one": one_by_one,
}


def main(request: dict[str, Any]) -> None:
    """Render what is asked for, and say with what."""
    versions, render = WAYS[request["way"]](request)
    if request["photo"]:
        render()
    print(json.dumps({"versions": versions}))


def _ladder(request: dict[str, Any]) -> Ladder:
    return Ladder.parse(request["ladder"])


def _write(request: dict[str, Any], rung: str, encoded: bytes) -> None:
    Path(request["folder"], f"{rung}.webp").write_bytes(encoded)


def _in_srgb(image: Any) -> Any:
    """The colours as the others have them: by the profile that the photo carries."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode != "RGB":
        return image
    import io

    from PIL import ImageCms

    of_photo = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return ImageCms.profileToProfile(image, of_photo, ImageCms.createProfile("sRGB")) or image


def _upright(image: Any) -> tuple[int, int]:
    turned = image.get_typeof("orientation") and image.get("orientation") in (5, 6, 7, 8)
    return (image.height, image.width) if turned else (image.width, image.height)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

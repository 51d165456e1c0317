"""The snippets of docs/integrate.md, as a reader copies them."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

from tests.e2e.stage import Stage
from tests.support.pictures import corners_jpeg
from tests.support.waiting import eventually

PHOTO = "hanoi-2026/IMG_0042"
DOCUMENT = (Path(__file__).parents[2] / "docs" / "integrate.md").read_text()


def snippet(heading: str) -> str:
    """The Python below a heading."""
    below = DOCUMENT.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    (code,) = re.findall(r"^```python\n(.*?)^```$", below, flags=re.MULTILINE | re.DOTALL)
    return str(code)


def written(stage: Stage, folder: Path, heading: str) -> Path:
    """A snippet in a file, with the names of this stage."""
    code = snippet(heading)
    for name, ours in {
        "my-project": stage.topic.split("/")[1],
        "my-originals": stage.originals,
        "photos-outcomes": stage.outcomes.split("/")[-1],
    }.items():
        code = code.replace(name, ours)
    file = folder / f"{heading.split(maxsplit=1)[0].lower()}.py"
    file.write_text(code)
    return file


class Images(HTMLParser):
    """The attributes of each `<img>`."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag == "img"
        self.found.append({name: value or "" for name, value in attrs})


def test_a_photo_is_published_consumed_and_shown_by_the_snippets(
    stage: Stage, tmp_path: Path
) -> None:
    stage.worker().wait_until_running()
    stage.upload(f"{PHOTO}.jpg", corners_jpeg(768, 512))
    log = tmp_path / "outcomes.log"
    with log.open("wb") as file:
        consumer = subprocess.Popen(
            [sys.executable, str(written(stage, tmp_path, "Consume outcomes"))],
            env=stage.environment,
            stdout=file,
            stderr=file,
        )
    try:
        publish = [sys.executable, str(written(stage, tmp_path, "Publish an event"))]
        subprocess.run(publish, env=stage.environment, timeout=60, check=True)
        eventually(lambda: f"{PHOTO} ready" in log.read_text(), "its outcome is printed")
        assert consumer.poll() is None
    finally:
        consumer.kill()
        consumer.wait()
    manifest = stage.manifest(PHOTO)
    assert manifest is not None
    assert manifest["labels"] == {"album": "hanoi-2026"}
    names: dict[str, object] = {}
    exec(snippet("Show a photo"), names)  # noqa: S102 (our own)
    (image,) = Images(names["img"](manifest, base="https://x/", alt='"<b>"')).found  # type: ignore[operator]
    candidates = [each.split(" ") for each in image["srcset"].split(", ")]
    assert [width for _, width in candidates] == ["320w", "512w", "768w"]
    objects = {each["object"] for each in manifest["renditions"]}
    assert {url.removeprefix("https://x/") for url, _ in candidates} == objects
    assert image["src"].removeprefix("https://x/") in objects
    assert (image["width"], image["height"], image["alt"]) == ("768", "512", '"<b>"')

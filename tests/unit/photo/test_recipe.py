"""The recipe and the digest: the same work has the same name, and other work another."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.convert.options import ConvertOptions
from worker.photo.ladder import Ladder
from worker.photo.looks import Looks
from worker.photo.recipe import DigestingHash, Recipe
from worker.photo.watermark import Watermark
from worker.settings.settings import Settings

RECIPE = Recipe(
    ladder=Ladder.parse("320,full"),
    looks=Looks(quality=80, effort=4, full_effort=2),
    codec="libvips-8.18.7",
)


def digest(recipe: Recipe, *chunks: bytes) -> str:
    hashed = DigestingHash()
    for chunk in chunks:
        hashed.update(chunk)
    return hashed.digest(recipe)


def test_the_fingerprint_is_one_readable_line() -> None:
    assert RECIPE.fingerprint == "webp/2 q=80 effort=4/2 ladder=320,full codec=libvips-8.18.7"


WATERMARK = Watermark(
    sha256=hashlib.sha256(b"a logo").hexdigest(), opacity=0.5, position="east", scale=0.2
)


def looking(**looks: Any) -> Recipe:
    return replace(RECIPE, looks=replace(RECIPE.looks, **looks))


def test_the_fingerprint_says_what_is_asked_for_besides() -> None:
    asked = looking(
        target_bytes=100_000,
        target_quality=72.5,
        background="#ffffff",
        watermark=WATERMARK,
    )
    digest = hashlib.sha256(b"a logo").hexdigest()[:12]
    assert asked.fingerprint == (
        f"{RECIPE.fingerprint} background=#ffffff "
        f"watermark={digest}@east opacity=0.5 scale=0.2 target_bytes=100000 target_quality=72.5"
    )


def test_a_png_has_neither_quality_nor_targets() -> None:
    png = looking(format="png", quality=1, effort=0, target_bytes=5, target_quality=70.0)
    assert png.fingerprint == "png/2 ladder=320,full codec=libvips-8.18.7"


def test_the_fingerprint_of_the_settings_has_not_changed() -> None:
    """Byte for byte: manifests of earlier workers must not become stale."""
    assert Settings.load({}).recipe("libvips-8.18.7").fingerprint == (
        "webp/2 q=80 effort=4/2 ladder=320,512,768,1024,1280,1600,2048,2560,full "
        "codec=libvips-8.18.7"
    )


CODEC = "libvips-8.18.7 libwebp-1.6.0 libheif-1.21.2"
BALANCED = f"webp/2 q=80 effort=4/2 ladder=320,full codec={CODEC}"
SHORT = {"WORKER_LADDER": "320,full"}
ICON = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'


@pytest.mark.parametrize(
    ("variables", "fingerprint"),
    [
        (
            {"WORKER_ENCODING": "fast", "WORKER_QUALITY": "75", "WORKER_LADDER": "1024,640"},
            f"webp/2 q=75 effort=2/2 ladder=640,1024,full codec={CODEC}",
        ),
        (
            {**SHORT, "WORKER_ENCODING": "compact", "WORKER_FULL_EFFORT": "0"},
            f"webp/2 q=80 effort=5/0 ladder=320,full codec={CODEC}",
        ),
        (
            {**SHORT, "WORKER_TARGET_BYTES": "100k"},
            f"{BALANCED} target_bytes=102400",
        ),
        (
            {**SHORT, "WORKER_TARGET_QUALITY": "70", "WORKER_BACKGROUND": "FA0"},
            f"{BALANCED} background=#ffaa00 target_quality=70.0",
        ),
        (
            {**SHORT, "WORKER_WATERMARK": "icon.svg", "WORKER_WATERMARK_POSITION": "North_East"},
            f"{BALANCED} watermark=b16192e8b207@north-east opacity=0.5 scale=0.2",
        ),
    ],
)
def test_fingerprints_of_settings_stay_as_manifests_hold_them(
    variables: dict[str, str], fingerprint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "icon.svg").write_bytes(ICON)
    monkeypatch.chdir(tmp_path)
    settings = Settings.load(variables)
    assert settings.recipe(CODEC).fingerprint == fingerprint
    options = ConvertOptions(
        source=tmp_path, output=tmp_path, sizes=Ladder.exactly("64"), output_format="png"
    )
    png = options.recipe(settings, CODEC).fingerprint
    mark = re.search(r" (background|watermark)=\S+( opacity=\S+ scale=\S+)?", fingerprint)
    assert png == f"png/2 ladder=64 codec={CODEC}{mark[0] if mark else ''}"


@pytest.mark.parametrize(
    "other",
    [
        looking(target_bytes=100_000),
        looking(target_quality=70.0),
        looking(watermark=WATERMARK),
        looking(watermark=replace(WATERMARK, opacity=0.6)),
        looking(background="#ffffff"),
        looking(format="png"),
        looking(quality=81),
        looking(effort=5),
        looking(full_effort=3),
        replace(RECIPE, codec="libvips-8.19.0"),
        replace(RECIPE, ladder=Ladder.parse("321,full")),
    ],
)
def test_whatever_decides_the_bytes_decides_the_digest(other: Recipe) -> None:
    assert other.fingerprint != RECIPE.fingerprint
    assert digest(other, b"original") != digest(RECIPE, b"original")


def test_the_digest_is_the_contracts() -> None:
    expected = hashlib.sha256(b"original" + RECIPE.fingerprint.encode()).hexdigest()[:12]
    assert digest(RECIPE, b"original") == expected


def test_each_fence_has_names_of_its_own() -> None:
    hashed = DigestingHash()
    hashed.update(b"original")
    assert hashed.digest(RECIPE, 0) == hashed.digest(RECIPE)
    assert len({hashed.digest(RECIPE, fence) for fence in range(5)}) == 5


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_chunks_do_not_matter(chunks: list[bytes]) -> None:
    assert digest(RECIPE, *chunks) == digest(RECIPE, b"".join(chunks))


def test_the_sha256_is_the_originals_alone_also_after_a_digest() -> None:
    hashed = DigestingHash()
    hashed.update(b"orig")
    hashed.digest(RECIPE)
    hashed.update(b"inal")
    assert hashed.sha256 == hashlib.sha256(b"original").hexdigest()
    assert hashed.digest(RECIPE) == digest(RECIPE, b"original")

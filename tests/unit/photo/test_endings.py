"""Endings of pictures' names."""

from __future__ import annotations

import pytest

from worker.photo.endings import content_type, named_like_a_picture, why_refused


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jpg", "image/jpeg"),
        ("sub/A.JFIF", "image/jpeg"),
        ("a.b.hif", "image/heif"),
        (".svgz", "image/svg+xml"),
    ],
)
def test_a_picture(name: str, kind: str) -> None:
    assert named_like_a_picture(name)
    assert content_type(name) == kind


@pytest.mark.parametrize("name", ["a.txt", "a", "jpg", "a.jpg~", "a.jpg/b", "a.", ""])
def test_anything_else(name: str) -> None:
    assert not named_like_a_picture(name)
    assert content_type(name) == "application/octet-stream"


@pytest.mark.parametrize("name", ["a.bmp", "b/A.DIB", "c.jxl"])
def test_a_picture_that_is_not_rendered_is_a_picture_and_says_why(name: str) -> None:
    assert named_like_a_picture(name)
    assert "not read" in why_refused(name)
    assert not why_refused("a.jpg")

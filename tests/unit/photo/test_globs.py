"""Globs: what they choose, what they leave, and what cannot be meant."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.photo.globs import Globs, split_globs


def chosen(glob: str, name: str) -> bool:
    """By one glob; an exclusion must be its exact opposite."""
    included = Globs(include=(glob,)).chooses(name)
    assert Globs(exclude=(glob,)).chooses(name) is not included
    return included


@pytest.mark.parametrize(
    ("glob", "name"),
    [
        ("a/b.jpg", "a/b.jpg"),
        ("*.jpg", "a.jpg"),
        ("*.jpg", "a/b/c.jpg"),  # without a slash: the last segment
        ("*.jpg", "a/.jpg"),
        ("/*.jpg", "a.jpg"),
        ("a/*.jpg", "a/b.jpg"),
        ("a/*/c.jpg", "a/b/c.jpg"),
        ("**/b.jpg", "b.jpg"),
        ("**/b.jpg", "x/y/b.jpg"),
        ("a/**/b.jpg", "a/b.jpg"),
        ("a/**/b.jpg", "a/x/y/b.jpg"),
        ("a/**", "a/x/y.jpg"),
        ("a/", "a/x/y.jpg"),
        ("**", "anything/at/all"),
        ("*", "anything/at/all"),
        ("**.jpg", "a/b.jpg"),
        ("a/**.jpg", "a/b.jpg"),
        ("a/**.jpg", "a/x/y/b.jpg"),
        ("a**z/b", "abz/b"),
        ("a**z/b", "ab/c/dz/b"),
        ("**/x/**/y/**", "1/x/2/3/y/4"),
        ("**/x/y/**/x/z", "x/y/x/y/x/z"),
        ("a/***/b", "a/x/b"),
        ("?.jpg", "a.jpg"),
        ("IMG_????.jpg", "IMG_0042.jpg"),
        ("*a*b*c", "xaxbxc"),
        ("*a*b*c", "abcbc"),
        ("*ab", "aab"),
        ("[a-c]x", "bx"),
        ("[!a-c]x", "dx"),
        ("[^a-c]x", "dx"),
        ("[]]x", "]x"),
        ("[!]]x", "ax"),
        ("[a-]x", "-x"),
        ("[\\]a]x", "]x"),
        ("*.{jpg,png}", "a/b.png"),
        ("*.{jp{,e}g,hei[cf]}", "a.jpeg"),
        ("*.{jp{,e}g,hei[cf]}", "a.heif"),
        ("{a,b}/{c,d}.jpg", "b/c.jpg"),
        ("{*.jpg,raw/**}", "x/y.jpg"),
        ("{*.jpg,raw/**}", "raw/y"),
        ("\\*.jpg", "*.jpg"),
        ("\\**.jpg", "*a.jpg"),
        ("a/\\***", "a/*b/c"),
        ("a/x[**]y", "a/x*y"),
        ("a\\{b", "a{b"),
        ("a+(b).jpg", "a+(b).jpg"),
        ("a\nb*", "a\nbc"),
        ("*", "a\nb"),
        ("*.jpg", "IMG_0042.JPG"),
        ("ALBUM/*.JPG", "album/img.jpg"),
        ("[a-c]x", "BX"),
        ("\u00e9t\u00e9/*", "e\u0301te\u0301/a.jpg"),
        ("E\u0301t\u00e9/*", "\u00e9t\u00e9/a.jpg"),
        ("?.jpg", "e\u0301.jpg"),
    ],
)
def test_a_glob_takes(glob: str, name: str) -> None:
    assert chosen(glob, name)


@pytest.mark.parametrize(
    ("glob", "name"),
    [
        ("a/b.jpg", "x/a/b.jpg"),
        ("a/*.jpg", "a/b/c.jpg"),
        ("a/*.jpg", "x/a/b.jpg"),
        ("/*.jpg", "a/b.jpg"),
        ("*.jpg", "a.jpg/b"),
        ("*.jpg", "a.jpg.txt"),
        ("*.jpg", "ajpg"),
        ("a?b", "a/b"),
        ("a[!x]b", "a/b"),
        ("a/**", "a"),
        ("a/", "a"),
        ("a/", "ab/c"),
        ("a/**", "ab/c"),
        ("a/**/b", "a/xb"),
        ("a/*/b", "a/b"),
        ("**/x/y", "x/y/z"),
        ("**/x/**/x", "x"),
        ("*ab*ab", "ab"),
        ("IMG_????.jpg", "IMG_042.jpg"),
        ("[a-c]x", "dx"),
        ("\\*.jpg", "a.jpg"),
        ("\\**.jpg", "a.jpg"),
        ("a/\\**", "a/*b/c"),
        ("*.{jpg,png}", "a.gif"),
        ("a\\,b", "a"),
        ("\u00e9*", "e.jpg"),
    ],
)
def test_a_glob_leaves(glob: str, name: str) -> None:
    assert not chosen(glob, name)


def test_without_globs_everything_is_chosen() -> None:
    assert Globs().chooses("anything")
    assert Globs().why_not("anything") is None


def test_exclusion_wins_and_says_why() -> None:
    globs = Globs(include=("*.jpg", "*.png"), exclude=("drafts/", "*.tmp.*"))
    assert globs.chooses("a/b.png")
    assert globs.why_not("drafts/b.png") == "excluded by 'drafts/'"
    assert globs.why_not("a.tmp.jpg") == "excluded by '*.tmp.*'"
    assert globs.why_not("a.gif") == "not included"


def test_a_comma_list_is_cut_at_its_own_commas() -> None:
    assert split_globs(" *.jpg, *.{png,ti{f,ff}} ,,a[,]b,a\\,b,") == (
        "*.jpg",
        "*.{png,ti{f,ff}}",
        "a[,]b",
        "a\\,b",
    )
    assert split_globs("  ") == ()


@pytest.mark.parametrize(
    ("glob", "why"),
    [
        ("", "an empty glob"),
        (" ", "an empty glob"),
        ("{a,}", "stands for an empty glob"),
        ("*.{jpg", "a brace that is not closed"),
        ("*.jpg}", "closes a brace"),
        ("[a-", "a bracket that is not closed"),
        ("[]", "a bracket that is not closed"),
        ("[z-a]", "the wrong way round: z-a"),
        ("a[x/y]b", "a slash between brackets"),
        ("a\\", "ends with a backslash"),
        ("{a,b}" * 10, "more than 1,000"),
        ("a**b/" * 10, "more than 1,000"),
        ("a**" * 60, "more than 1,000"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_text(glob: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)) as refused:
        Globs(include=(glob,))
    assert not glob.strip() or repr(glob) in str(refused.value)


@pytest.mark.parametrize("text", ["a,{b", "a,b}", "a,[b"])
def test_a_list_with_an_open_end_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        split_globs(text)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("glob", ["*a" * 12 + "b", "**/a/" * 8 + "b", "a**" * 4 + "/b", "?*" * 12])
def test_no_name_makes_a_glob_run_away(glob: str) -> None:
    # Backtracking from star to star would take years of these.
    for name in ("a" * 1024, "a/" * 512, "a/" * 511 + "aa"):
        Globs(include=(glob,)).chooses(name)


def by_the_book(glob: str, name: str) -> bool:
    """Stars and question marks, by trying everything."""
    if not glob:
        return not name
    if glob[0] == "*":
        crossing = glob.startswith("**")
        rest = glob[2:] if crossing else glob[1:]
        ways = range(len(name) + 1)
        return any(
            by_the_book(rest, name[way:]) for way in ways if crossing or "/" not in name[:way]
        )
    if not name or (glob[0] == "?" and name[0] == "/"):
        return False
    return glob[0] in ("?", name[0]) and by_the_book(glob[1:], name[1:])


@given(
    glob=st.text(alphabet="ab?*", min_size=1, max_size=6),
    folder=st.text(alphabet="ab?*", min_size=1, max_size=3),
    name=st.text(alphabet="ab/", max_size=8),
)
def test_stars_mean_what_they_say(glob: str, folder: str, name: str) -> None:
    whole = f"{folder}/{glob}"
    # `**` as a whole segment is tried by hand above: it may stand for 0 segments.
    if not re.search(r"\*{3,}|(^|/)\*\*(/|$)", whole):
        assert chosen(whole, name) is by_the_book(whole, name)

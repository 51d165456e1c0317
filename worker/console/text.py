"""Text for people."""

from __future__ import annotations


def plain(text: str) -> str:
    """A text on one line, with whatever a terminal would obey made visible."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)

"""Redaction: secrets in a log line, found by their form and replaced.

Signed URLs, tokens and keys get into texts by surprise: a library's error quotes the URL that it
asked for, or an event names a signed URL as its original. So whole lines are searched, after they
are put together. Pure.
"""

from __future__ import annotations

import re
from typing import Final

REDACTED: Final = "[redacted]"

_NAMES: Final = (
    "x-goog-signature|x-goog-credential|x-amz-signature|x-amz-credential|x-amz-security-token"
    "|signature|googleaccessid|access_token|refresh_token|id_token|client_secret|private_key"
    "|upload_id|sig"
)

# A value ends where a query, a quoted text or an escape of JSON ends, so a JSON line stays one. The
# search takes time in proportion to the length of any text, because the whole worker waits for it.
_SECRET: Final = re.compile(
    rf"""
      (?P<named> (?: (?<![a-z0-9_-]) | (?<=%3f) | (?<=%26) ) (?:{_NAMES})
                 (?: (?:=|%3d) | \\*["'] \s* : \s* \\*["'] ) )   (?!-----) [^&\s"'<>\\]+
    | (?P<header> authorization \\*["']? \s* [:=] \s* \\*["']? (?:[a-z0-9-]+\s+)? ) [^\s"'\\,]+
    | (?P<scheme> \b bearer \s+ ) [\w.~+/=-]+
    | \b ya29\. [\w.-]+
    | \b 1//0 [\w-]{{20,}}
    | (?<![\w-]) eyJ [\w-]{{8,}} \. [\w-]{{8,}} \. [\w-]*
    | -----BEGIN\ [A-Z0-9\ ]*PRIVATE\ KEY-----
      (?: (?!-----END) (?: [^"\\] | \\. ) )*
      (?: -----END\ [A-Z0-9\ ]*PRIVATE\ KEY----- )?
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


def redact(text: str) -> str:
    """The text with each secret replaced; JSON stays JSON."""
    return _SECRET.sub(_without, text)


def _without(match: re.Match[str]) -> str:
    kept = match["named"] or match["header"] or match["scheme"] or ""
    return kept + REDACTED

"""Redaction: find secrets in a log line by their form, and replace them.

Signed URLs, tokens and keys get into texts by surprise: a library's error quotes the URL of its
request, or an event names a signed URL as its original. So the search covers whole lines, after
they are put together. Pure.
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

# A value ends where a query, a quoted text or an escape of JSON ends, so a JSON line stays valid.
# The search takes linear time on any text, because the whole worker waits for it.
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
    """Replace each secret in a text; JSON stays JSON."""
    return _SECRET.sub(_without, text)


def _without(match: re.Match[str]) -> str:
    kept = match["named"] or match["header"] or match["scheme"] or ""
    return kept + REDACTED

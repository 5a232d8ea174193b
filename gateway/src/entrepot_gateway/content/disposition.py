"""Whether a browser shows a file or saves it, and under which name (RFC 6266, RFC 8187)."""

from __future__ import annotations

import re
from urllib.parse import quote

# What can only be looked at. All else is saved: pages, drawings and documents of strangers could
# act, and packages are of no use in a window.
_SHOWN = frozenset(
    {
        "application/json",
        "image/avif",
        "image/bmp",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/csv",
        "text/markdown",
        "text/plain",
        "text/tab-separated-values",
        "text/x-diff",
        "text/x-python",
    }
)
# What every reader of quoted strings takes for itself; some decode %, and some take no escapes.
_DOUBTFUL = re.compile(r'[^ -~]|["%\\/]')
# attr-char of RFC 8187, section 3.2.1; letters and digits are always safe.
_ATTRIBUTE = "!#$&+-.^_`|~"


def disposition(media_type: str, name: str) -> bytes:
    """The value of Content-Disposition for a file; empty: none is needed, as it is shown."""
    if media_type.partition(";")[0] in _SHOWN:
        return b""
    plain = _DOUBTFUL.sub("_", name)
    value = f'attachment; filename="{plain}"'
    if plain != name:
        value += f"; filename*=UTF-8''{quote(name, safe=_ATTRIBUTE)}"
    return value.encode("ascii")

"""For the site: links that leave docs/ become text, for the site holds these pages alone."""

from __future__ import annotations

import posixpath
import re
from typing import Any

LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((\.\./[^)\s]+)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with every link to a file outside docs/ as the words and, after them, the file's path."""
    here = posixpath.dirname(page.file.src_uri)

    def told(match: re.Match[str]) -> str:
        path, _, _ = match.group(2).partition("#")
        target = posixpath.normpath(posixpath.join("docs", here, path))
        if target.startswith("docs/"):
            return match.group(0)
        return match.group(1) if match.group(1).strip("`") == target else f"{match.group(1)} (`{target}`)"

    return LINK.sub(told, markdown)

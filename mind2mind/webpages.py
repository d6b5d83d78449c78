"""Web pages that come instead of a file: what they say, and the one question that is answered for the user."""

import html
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit


def title(page: str) -> str:
    """The page's title, on one line of at most 100 characters."""
    match = re.search(r"<title[^>]*>(.*?)</title", page, re.IGNORECASE | re.DOTALL)
    return " ".join(html.unescape(match[1]).split())[:100] if match else ""


def confirmation(page: str, url: str) -> str | None:
    """Where Drive's question leads, whether one wants a file too large to be checked; never to another host.

    Args:
        page: what lies at `url`.
        url: the page's own address.
    """
    form = _Form()
    form.feed(page)
    if form.action is None:
        return None
    target, own = urlsplit(urljoin(url, form.action)), urlsplit(url)
    if (target.scheme, target.netloc) != (own.scheme, own.netloc):
        return None
    return target._replace(query=urlencode(form.values), fragment="").geturl()


class _Form(HTMLParser):
    """The form called `download-form`, with its hidden values."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.values: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        at = {name: value or "" for name, value in attrs}
        if tag == "form" and at.get("id") == "download-form":
            self.action = at.get("action", "")
        elif tag == "input" and self.action is not None and at.get("name"):
            self.values[at["name"]] = at.get("value", "")

"""A browser without JavaScript, in the test's own process: it asks for pages, reads them, and sends their forms."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import httpx

from deedbook.service.web.app import web_app

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deedbook.service.context import Service

HERE = "http://127.0.0.1:8470"
_VOID = {"meta", "link", "input", "br", "img", "hr"}
# What ends a line, so that the words beside it are not one.
_APART = {"button", "caption", "dd", "div", "dt", "h1", "h2", "h3", "label", "li", "option", "p", "td", "th"}
_UNREAD = {"style", "script"}


@dataclass
class Link:
    """A link: what it says and where it leads."""

    text: str
    href: str


@dataclass
class Form:
    """A form: where it is sent, and what it would send as it is."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


class _Reading(HTMLParser):
    """What a page says and offers, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[Link] = []
        self.forms: list[Form] = []
        self.tags: list[str] = []
        self.styled: list[str] = []
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self._written_in = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what begins."""
        known = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.styled += [tag] if "style" in known or any(name.startswith("on") for name in known) else []
        if tag not in _VOID:
            self._open.append(tag)
        match tag:
            case "a":
                self.links.append(Link("", known.get("href", "")))
            case "form":
                self.forms.append(Form(known.get("action", "")))
            case "br":
                self._say(" ")
            case "tr":
                self.rows.append([])
            case "td" | "th" if self.rows:
                self.rows[-1].append("")
            case "textarea" if self.forms:
                self._written_in = known.get("name", "")
                self.forms[-1].fields[self._written_in] = ""
            case "input" if self.forms:
                chosen = known.get("type") not in {"radio", "checkbox"} or "checked" in known
                if chosen:
                    self.forms[-1].fields[known.get("name", "")] = known.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        """Note what ends."""
        while self._open and self._open.pop() != tag:
            pass
        self.words += [" "] if tag in _APART else []

    def handle_data(self, data: str) -> None:
        """Note what is said."""
        if self._open and self._open[-1] in _UNREAD:
            return
        self._say(data)
        if self._open and self._open[-1] == "textarea":
            # The line that HTML lets a field begin with is none of its text.
            self.forms[-1].fields[self._written_in] = data.removeprefix("\n")
        if "a" in self._open:
            self.links[-1].text += data

    def _say(self, text: str) -> None:
        self.words.append(text)
        if {"td", "th"} & set(self._open) and self.rows and self.rows[-1]:
            self.rows[-1][-1] += text


@dataclass
class Seen:
    """A page as a person has it before them."""

    status: int
    html: str
    address: str
    headers: Mapping[str, str]

    def __post_init__(self) -> None:
        self.read = _Reading()
        self.read.feed(self.html)

    @property
    def text(self) -> str:
        """All that the page says, with one space between words."""
        return " ".join("".join(self.read.words).split())

    @property
    def rows(self) -> list[list[str]]:
        """The rows of all tables: what each cell says."""
        return [[" ".join(cell.split()) for cell in row] for row in self.read.rows]

    def row(self, *words: str) -> list[str]:
        """The one row whose cells say these words."""
        (found,) = [row for row in self.rows if all(any(word in cell for cell in row) for word in words)]
        return found

    def leads_to(self, text: str) -> list[str]:
        """Where the links that say this lead."""
        return [link.href for link in self.read.links if " ".join(link.text.split()) == text]

    def form(self, sends: str) -> Form:
        """The form that has a field of this name."""
        (found,) = [form for form in self.read.forms if sends in form.fields]
        return found


class Browser:
    """Somebody who looks at a registry's pages; cookies are kept."""

    def __init__(self, service: Service, token: str = "") -> None:
        self._app = web_app(service)
        self._cookies = httpx.Cookies()
        self._headers = {"accept": "text/html"} | ({"authorization": f"Bearer {token}"} if token else {})

    def look(self, address: str) -> Seen:
        """Ask for a page, going where it leads."""
        return self._ask("GET", address)

    def send(self, seen: Seen, form: Form, **fields: str) -> Seen:
        """Send a form of a page, filled in."""
        return self._ask("POST", form.action or seen.address, form.fields | fields)

    def _ask(self, method: str, address: str, fields: Mapping[str, str] | None = None) -> Seen:
        async def asked() -> httpx.Response:
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(self._app, raise_app_exceptions=False),
                base_url=HERE,
                headers=self._headers,
                cookies=self._cookies,
                follow_redirects=True,
            ) as client:
                response = await client.request(method, address, data=fields)
                self._cookies.update(client.cookies)
                return response

        response = asyncio.run(asked())
        return Seen(response.status_code, response.text, str(response.url), response.headers)

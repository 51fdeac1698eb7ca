"""One browser's request, as far as its door is concerned: where it came in, its cookies, what its forms must hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from markupsafe import Markup, escape
from starlette.requests import Request

from deedbook.events.errors import PermissionRefused
from deedbook.service.access.origins import is_loopback
from deedbook.service.access.roles import Caller, Permission
from deedbook.service.access.sessions import (
    MAX_SESSION_SECONDS,
    form_token,
    is_form_key,
    is_form_token,
    new_form_key,
)

if TYPE_CHECKING:
    from deedbook.service.access.access import Access
    from deedbook.service.access.attempts import Attempts

FORM_FIELD: Final = "csrf_token"
_MAX_NEXT_CHARACTERS = 4_000


@dataclass(slots=True)
class Visit:
    """A request that came to one of the service's own origins.

    `session`: the cookie of somebody who is signed in. `form_key`: the cookie of a browser that is not. `cookies`:
    what the response sets.
    """

    access: Access
    attempts: Attempts
    origin: str
    session: str = ""
    form_key: str = ""
    cookies: list[str] = field(default_factory=list)

    @property
    def secure(self) -> bool:
        """Whether the browser speaks TLS, with this service or with what stands in front of it."""
        return self.origin.startswith("https:")

    @property
    def stays_secure(self) -> bool:
        """Whether the browser should never again ask this host without TLS: not where all of a machine's ports are."""
        return self.secure and not is_loopback(urlsplit(self.origin).hostname or "")

    def cookie_name(self, kind: str) -> str:
        """Return the name of a cookie: of the only kind that neighbours can't set, or one for each port."""
        if self.secure:
            return f"__Host-deedbook-{kind}"
        return f"deedbook-{urlsplit(self.origin).port or 80}-{kind}"

    def read_cookies(self, cookies: dict[str, str]) -> None:
        """Take what the browser sent."""
        self.session = cookies.get(self.cookie_name("session"), "")
        form_key = cookies.get(self.cookie_name("form"), "")
        self.form_key = form_key if is_form_key(form_key) else ""

    def sign_in(self, session: str) -> None:
        """Have the browser keep a session."""
        self._set_cookie("session", session, MAX_SESSION_SECONDS)

    def sign_out(self) -> None:
        """Have the browser forget its session; whoever copied it can't use it here any more."""
        self.access.end_session(self.session)
        self._set_cookie("session", "", 0)

    def token_of_forms(self) -> str:
        """Return what this browser's forms must bring back."""
        if not self.session and not self.form_key:
            self.form_key = new_form_key()
            self._set_cookie("form", self.form_key, None)
        return form_token(self.session or self.form_key)

    def gave(self, token: str) -> bool:
        """Tell whether a form brought back what it was given."""
        kept = self.session or self.form_key
        return bool(kept) and is_form_token(kept, token)

    def _set_cookie(self, kind: str, value: str, age_seconds: int | None) -> None:
        age = "" if age_seconds is None else f"; Max-Age={age_seconds}"
        secure = "; Secure" if self.secure else ""
        self.cookies.append(
            f"{self.cookie_name(kind)}={value}; Path=/; HttpOnly; SameSite=Strict{age}{secure}"
        )


def visit_of(request: Request) -> Visit:
    """Return the visit that the door left for the pages."""
    visit = request.state.visit
    if not isinstance(visit, Visit):
        raise TypeError("the request did not come through the door")
    return visit


def caller_of(request: Request) -> Caller:
    """Return who is asking. Raises PermissionRefused where nobody is signed in: at open pages alone."""
    caller = getattr(request.state, "caller", None)
    if not isinstance(caller, Caller):
        raise PermissionRefused("nobody is signed in")
    return caller


def allowed(request: Request, permission: str, *models: str) -> bool:
    """Tell a template whether to show what a permission is needed for."""
    caller = getattr(request.state, "caller", None)
    if not isinstance(caller, Caller):
        return False
    try:
        visit_of(request).access.check(caller, Permission(permission), models)
    except PermissionRefused:
        return False
    return True


def csrf_token(request: Request) -> str:
    """Return what each form that posts must hold as `csrf_token`."""
    return visit_of(request).token_of_forms()


def csrf_field(request: Request) -> Markup:
    """Return it as the field of a form."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(
        escape(FORM_FIELD), escape(csrf_token(request))
    )


TEMPLATE_GLOBALS: Final = {"allowed": allowed, "csrf_field": csrf_field, "csrf_token": csrf_token}


def own_path(text: str) -> str:
    """Return where to go on, where that is a page of this service; else the first page."""
    printable = text.isascii() and text.isprintable() and "\\" not in text and " " not in text
    if not printable or len(text) > _MAX_NEXT_CHARACTERS or not text.startswith("/") or text.startswith("//"):
        return "/"
    parts = urlsplit(text)
    return text if not parts.scheme and not parts.netloc else "/"

"""The pages as one application: the collected addresses, the files they use, and what is said when one fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Route

from deedbook.service.access.origins import Origins
from deedbook.service.access.web import guarded
from deedbook.service.web import failing
from deedbook.service.web.asking_log import LogAsker
from deedbook.service.web.keeping import Kept
from deedbook.service.web.pages import Page, collected

if TYPE_CHECKING:
    from deedbook.service.context import Service


class PageRoute(Route):
    """The route of a page; `page` says what it needs."""

    def __init__(self, page: Page) -> None:
        super().__init__(page.path, page.endpoint, methods=list(page.methods))
        self.page = page


def web_app(service: Service) -> Starlette:
    """Return the application; `service` is what all its pages answer from."""
    app = Starlette(routes=[PageRoute(page) for page in collected()], exception_handlers=failing.HANDLERS)
    app.state.service = service
    app.state.kept = Kept()
    app.state.log = LogAsker(service.log)
    origins = Origins.of(service.settings.web.host, service.settings.public_hosts)
    return guarded(app, service.access, origins, failing.error_page)

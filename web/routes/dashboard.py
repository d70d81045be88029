"""The dashboard: one page over the same public API; its scripts and styles are plain files of `web/static`."""

from flask import Blueprint, render_template

from common.alertkinds import KINDS, SEVERITIES
from web.api import stores

WINDOWS = (20, 30, 60, 120, 240, 500)
blueprint = Blueprint("dashboard", __name__)


@blueprint.get("/")
def page() -> str:
    """What the settings say is written into the page; everything else it asks the API for, so it opens with both stores away."""
    settings = stores().settings
    return render_template(
        "dashboard.html",
        settings=settings,
        alert_types=KINDS,
        severities=SEVERITIES,
        windows=sorted({*WINDOWS, settings.window}),
    )

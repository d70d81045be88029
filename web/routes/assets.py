"""Scripts of other projects, from their installed packages: the pages ask no other host for anything."""

from importlib.util import find_spec
from pathlib import Path

from flask import Blueprint, Response, send_from_directory

MAX_AGE_S = 86_400
blueprint = Blueprint("assets", __name__, url_prefix="/assets")


def package_folder(package: str, *inside: str) -> Path:
    """A folder of an installed package, found without running the package."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed")
    return Path(spec.origin).parent.joinpath(*inside)


@blueprint.get("/lightweight-charts.js")
def lightweight_charts() -> Response:
    """TradingView's Lightweight Charts (Apache-2.0), as `litecharts` ships it."""
    return send_from_directory(package_folder("litecharts", "js"), "lightweight-charts.js", max_age=MAX_AGE_S)

"""Swagger UI over `/api/openapi.json`, from the installed `swagger_ui_bundle`."""

from flask import Blueprint, Response, abort, send_from_directory

from web.routes.assets import MAX_AGE_S, package_folder

blueprint = Blueprint("docs", __name__, url_prefix="/api/docs")
_FILES = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>GEMS API</title>
<link rel="stylesheet" href="/api/docs/files/swagger-ui.css">
<link rel="icon" href="/api/docs/files/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/api/docs/files/swagger-ui-bundle.js"></script>
<script src="/api/docs/start.js"></script>
</body>
</html>
"""
_START = 'SwaggerUIBundle({url: "/api/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null});\n'


@blueprint.get("/")
def page() -> Response:
    """The API by hand."""
    return Response(_PAGE, mimetype="text/html")


@blueprint.get("/start.js")
def start() -> Response:
    """Not inline: the content security policy forbids that."""
    return Response(_START, mimetype="text/javascript")


@blueprint.get("/files/<name>")
def files(name: str) -> Response:
    """Swagger UI's own files."""
    if name not in _FILES:
        abort(404)
    versions = sorted(package_folder("swagger_ui_bundle", "vendor").glob("swagger-ui-*"))
    return send_from_directory(versions[-1], name, max_age=MAX_AGE_S)

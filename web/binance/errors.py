"""Binance's error shape: status 400 and `{"code", "msg"}`."""

from flask import Flask, Response, jsonify

#: Below it every failure has a code and a message as Binance's have.
BINANCE_PATHS = "/api/v3/"
UNKNOWN = -1000
#: By HTTP status: what fails before or beside the reading of a request. A place that is not there is unknown to Binance, too.
BINANCE_CODES = {400: -1100, 401: -2015, 403: -2015, 429: -1003, 503: -1001}


class Refused(Exception):
    """A request that Binance would answer with 400.

    https://developers.binance.com/docs/binance-spot-api-docs/errors
    """

    def __init__(self, code: int, msg: str) -> None:
        super().__init__(msg)
        self.code, self.msg = code, msg


def missing(name: str) -> Refused:
    """A mandatory parameter was not sent."""
    return Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def illegal(name: str, legal: str) -> Refused:
    """A parameter holds other characters than it may."""
    return Refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def answer(refused: Refused) -> Response:
    """The response of a refusal."""
    response = jsonify({"code": refused.code, "msg": refused.msg})
    response.status_code = 400
    return response


def register_refusals(app: Flask) -> None:
    """Have the app answer refusals."""
    app.register_error_handler(Refused, answer)

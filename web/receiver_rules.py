"""What a receiver of alerts must be to be stored: a URL that may be reached, a template that can be filled in."""

import threading
from collections.abc import Mapping
from typing import Any

from common.apprise_child import Child
from common.egress import resolve
from common.errors import ReceiverRejected
from common.messages import check_template
from common.receivers import apprise_scheme, webhook_target
from web.errors import Problem, bad

CHECK_S = 20.0
_ONE_CHILD = threading.Lock()


def check_receiver(kind: str, given: Mapping[str, Any], allow_private: bool) -> None:
    """Look at the URL and the template, where they are given.

    Raises:
        Problem: 400 with the field, 503 if apprise did not answer in time.
    """
    try:
        check_template(given.get("template", ""))
    except ReceiverRejected as exc:
        raise bad("template", str(exc)) from exc
    if "url" not in given:
        return
    try:
        _check_webhook(given["url"], allow_private) if kind == "webhook" else _check_apprise(given["url"], allow_private)
    except ReceiverRejected as exc:
        raise bad("url", _as_predicate(str(exc))) from exc


def _check_webhook(url: str, allow_private: bool) -> None:
    target = webhook_target(url)
    try:
        resolve(target.host, target.port, allow_private)
    except OSError as exc:
        raise ReceiverRejected(f"can not be used: {target.host} can not be resolved now") from exc


def _check_apprise(url: str, allow_private: bool) -> None:
    apprise_scheme(url)
    try:
        with _ONE_CHILD, Child(allow_private) as child:  # one at a time: a child is dear
            answer = child.ask({"do": "check", "url": url}, CHECK_S)
    except TimeoutError as exc:
        raise Problem(503, f"{exc}; try again soon") from exc
    if not answer["ok"]:
        raise ReceiverRejected(answer["error"])


def _as_predicate(sentence: str) -> str:
    return sentence if sentence.startswith(("must", "is ", "can not")) else f"is refused: {sentence}"

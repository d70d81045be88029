"""The processes of an instance: by its supervisor, by their own word, and by the last line of their logs."""

import socket
import xmlrpc.client
from typing import Any

from ops.house import House, NotRunning


def processes(house: House, told: dict[str, Any]) -> list[dict[str, Any]]:
    """What the supervisor says of each process, and what the process last said of itself; then those that it does not know."""
    try:
        found = house.supervisor().getAllProcessInfo()
    except (NotRunning, OSError, xmlrpc.client.Error):
        found = []
    own = {name: facts for name, facts in told.items() if facts.get("who") in (None, own_producer(house))}
    producer = next((name for name in own if name.startswith("producer")), "")
    supervised = [
        {
            "name": process["name"],
            "state": process["statename"].lower(),
            "pid": process["pid"] or None,
            "up_s": process["now"] - process["start"] if process["statename"] == "RUNNING" else None,
            "exit_code": process["exitstatus"] if process["statename"] in ("EXITED", "FATAL", "BACKOFF") else None,
            "health": own.pop(producer if process["name"] == "producer" else process["name"], {}),
        }
        for process in found
    ]
    known = {process["name"] for process in supervised} | {producer} if supervised else set()
    return supervised + [
        {"name": name, "state": "elsewhere", "pid": None, "up_s": None, "exit_code": None, "health": facts}
        for name, facts in told.items()
        if name not in known
    ]


def own_producer(house: House) -> str:
    """The name that this instance's producer gives itself in its health."""
    return f"{socket.gethostname()}:{house.data_dir.resolve()}"


def last_words(house: House, found: list[dict[str, Any]]) -> dict[str, str]:
    """By process, the last line of its log if that is a warning or an error."""
    words = {}
    for process in found:
        line = house.log_tail(process["name"], 1)
        if " WARNING " in line or " ERROR " in line:
            words[process["name"]] = line.split("WARNING ")[-1].split("ERROR ")[-1].strip()[:300]
    return words

"""Where alerts may be sent: public addresses only, unless `GEMS_NOTIFY_PRIVATE` allows others.

What is judged is the address that a connection is made to, never the name: a name may be written in many ways (`0x7f.1`,
`2130706433`) and may stand for another address the next second.
"""

import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from common.errors import ReceiverRejected

#: As `socket.getaddrinfo`.
Lookup = Callable[..., list[Any]]
_NAT64 = ip_network("64:ff9b::/96")
_PRIVATE_HINT = "; GEMS_NOTIFY_PRIVATE=true allows such addresses"


def refusal(address: str) -> str | None:
    """Why alerts may not go to a numeric address; None if they may.

    >>> refusal("::ffff:127.0.0.1")
    'loopback'
    """
    found = _innermost(ip_address(address.partition("%")[0]))
    if found.is_loopback:
        return "loopback"
    if found.is_unspecified:
        return "the unspecified address"
    if found.is_link_local:
        return "link-local"
    if found.is_multicast:
        return "multicast"
    if found.is_private:
        return "private"
    site_local = isinstance(found, IPv6Address) and found.is_site_local
    return "reserved" if found.is_reserved or site_local or not found.is_global else None


def _innermost(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address stands for, where it does (mapped, 6to4, NAT64)."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def resolve(host: str, port: int, allow_private: bool, lookup: Lookup = socket.getaddrinfo) -> list[str]:
    """The numeric addresses of a host, asked for once: connect to these, not to the name.

    Raises:
        ReceiverRejected: one of them is not allowed; a name that is public and private at once is nobody's honest name.
        OSError: the name can not be resolved now.
    """
    try:
        found = lookup(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as exc:
        raise ReceiverRejected(f"{host[:100]!r} is not the name of a host") from exc
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        check_address(address, allow_private, host)
    return addresses


def check_address(address: str, allow_private: bool, host: str = "") -> None:
    """Let an address pass, or raise.

    Raises:
        ReceiverRejected: alerts may not go there.
    """
    reason = None if allow_private else refusal(address)
    if reason:
        named = f"{host} is {address}" if host and host != address else address
        raise ReceiverRejected(f"{named}: {reason}{_PRIVATE_HINT}")

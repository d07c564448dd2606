"""Tells which IP addresses are on the public Internet."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

#: All addresses assigned as global unicast. The others are local, reserved or special.
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")

#: The one exception: addresses by which an IPv6-only network reaches IPv4 (NAT64, RFC 6052).
_NAT64: Final = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Return whether an IP address is on the public Internet.

    Loopback, link-local, private, shared, multicast and reserved addresses are not. Neither is an
    IPv6 address that leads to such an IPv4 address.

    Args:
        address: An address as ``getaddrinfo`` returns it, perhaps with a zone such as ``%eth0``. A
            text that is no address is not public.
    """
    try:
        read = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(read, IPv6Address) and read in _NAT64:
        read = IPv4Address(int(read) & 0xFFFF_FFFF)
    if isinstance(read, IPv4Address):
        return read.is_global and not read.is_multicast
    return read in _GLOBAL_UNICAST and read.is_global and not _is_tunnelled(read)


def _is_tunnelled(address: IPv6Address) -> bool:
    """Return whether an address leads on to an IPv4 address, by 6to4 or Teredo."""
    return address.sixtofour is not None or address.teredo is not None

"""Which IP addresses count as public."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.addresses import is_public

NOT_PUBLIC = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
    "100::1",
    "4000::1",
]

#: The ways in which an IPv6 address contains the IPv4 address that its packets go to.
CARRIERS = {
    "mapped": lambda four: IPv6Network("::ffff:0:0/96")[four],
    "compatible": lambda four: IPv6Address(four),
    "translated": lambda four: IPv6Network("::ffff:0:0:0/96")[four],
    "NAT64": lambda four: IPv6Network("64:ff9b::/96")[four],
    "local NAT64": lambda four: IPv6Network("64:ff9b:1::/96")[four],
    "6to4": lambda four: IPv6Address((0x2002 << 112) | (four << 80) | 1),
    "Teredo": lambda four: IPv6Address((0x20010000 << 96) | (four << 64) | (~four & 0xFFFFFFFF)),
}

private = st.sampled_from(
    ["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]
).flatmap(lambda network: st.ip_addresses(v=4, network=ip_network(network)))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808"])
def test_what_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("carrier", CARRIERS)
@given(four=private)
def test_no_ipv6_address_leads_to_a_private_ipv4_address(carrier: str, four: IPv4Address) -> None:
    assert not is_public(str(four))
    assert not is_public(str(CARRIERS[carrier](int(four))))


@pytest.mark.parametrize("text", ["", "example.com", "1.2.3", "1.2.3.4.5", "v1.x", ":::"])
def test_what_is_no_address_is_not_public(text: str) -> None:
    assert not is_public(text)

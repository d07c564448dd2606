"""Measures what an outage of a remote costs a whole site, with each breaker and with none."""

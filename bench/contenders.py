"""Contenders for functions behind a breaker that succeed, fail or are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from .measure import Contender, awaiting, calling
from .peers import Peer
from .work import Expecting, RemoteDownError, Work, forbidden

#: Returns a context manager that is entered for each of a contender's turns.
Within = Callable[[], AbstractContextManager[object]]

#: Wraps a function so that calls to it go through a breaker.
Protect = Callable[[Callable[..., Any]], Callable[..., Any]]


def succeeding(name: str, protect: Protect, within: Within = nullcontext) -> Contender:
    """Return a contender whose calls succeed."""
    work = Work()
    return Contender(name=name, time=calling(protect(work.succeed)), done=work.done, within=within)


def succeeding_async(
    name: str, protect: Protect, runner: asyncio.Runner, within: Within = nullcontext
) -> Contender:
    """Return a contender whose coroutines succeed; the runner's loop awaits them."""
    work = Work()
    return Contender(
        name=name,
        time=awaiting(protect(work.asucceed), runner),
        done=work.done,
        within=within,
    )


def failing(name: str, protect: Protect, within: Within = nullcontext) -> Contender:
    """Return a contender whose calls fail without opening a circuit."""
    expecting = Expecting(protect(Work().fail), RemoteDownError)
    return Contender(name=name, time=calling(expecting.attempt), done=expecting.done, within=within)


def refusing(
    name: str, protect: Protect, refusal: type[BaseException], within: Within = nullcontext
) -> Contender:
    """Return a contender whose calls are refused, because ``within`` opens its circuit."""
    expecting = Expecting(protect(forbidden), refusal)
    return Contender(name=name, time=calling(expecting.attempt), done=expecting.done, within=within)


def opened(peer: Peer) -> Contender:
    """Return a contender whose calls are refused, after opening its circuit by a failing call."""
    Expecting(peer.protect(Work().fail), RemoteDownError).attempt()
    return refusing(peer.name, peer.protect, peer.refusal)


def unprotected(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function itself, so that it is called without a breaker."""
    return function

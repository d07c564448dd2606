"""The faults that no test can notice, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: Faults that no test can notice here, with the reason; they are not tried. An entry names one
#: fault by its function and the lines that ``mutmut show`` prints, as ``FUNCTION: OLD -> NEW``. It
#: names all faults of a function only where mutmut cannot choose among them.
EQUIVALENT: Final[Mapping[str, str]] = {
    "circuits.calls.abandoned.x__run": "its thread goes on from test to test, and mutmut runs only "
    "the first of them; put in by hand, each of its faults is noticed",
    "circuits.calls.abandoned.x_when_dropped: "
    "finalizer.atexit = False -> finalizer.atexit = None": "weakref only asks whether it is true",
    **dict.fromkeys(
        (
            "circuits.calls.answers.x_seconds_to_wait: "
            'sent = _timestamp(headers.get("Date", "")) -> '
            f'sent = _timestamp(headers.get("Date", {none}))'
            for none in ("", "None", '"XXXX"')
        ),
        "each is no date",
    ),
    **dict.fromkeys(
        (
            "circuits.calls.bounded.x__addresses: "
            "known = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM) -> "
            "known = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)",
            "circuits.calls.bounded.xǁ_Boundedǁ_looked_up: "
            "return _addresses(host, int(self.port or 0), _left(self._deadline)) -> "
            "return _addresses(host, int(self.port and 0), _left(self._deadline))",
        ),
        "the addresses of a host are the same for each port",
    ),
    "circuits.calls.callables.x__call_of: "
    'return getattr(type(function), "__call__", function)  # noqa: B004 - the method itself -> '
    'return getattr(type(function), "__call__", )  # noqa: B004 - the method itself': (
        "each class has it, as it can itself be called"
    ),
    "circuits.calls.clients.x__open_client: "
    "limits=httpx.Limits(max_connections=None, max_keepalive_connections=20), -> "
    "limits=httpx.Limits(max_keepalive_connections=20),": "no limit is the default of httpx",
    "circuits.calls.clients.x__open_client: _clients.pop(loop, None) -> _clients.pop(loop, )": (
        "until then a client is only taken out of a closed loop, where this never runs"
    ),
    "circuits.calls.http.x__ato_read: "
    "return None if timeout is None else httpx.Timeout(cast(Any, timeout)).read -> return None if "
    "(timeout is None) and False else httpx.Timeout(cast(Any, timeout)).read": (
        "the timeout that httpx makes of None has none to read either"
    ),
    **dict.fromkeys(
        (
            'circuits.calls.http.x_acall: method: str = "GET", -> method: str = "get",',
            'circuits.calls.http.x_call: method: str = "GET", -> method: str = "get",',
            'circuits.calls.http.x_call_by: method: str = "GET", -> method: str = "get",',
        ),
        "requests and httpx write methods in capitals",
    ),
    **dict.fromkeys(
        (
            "circuits.calls.bounded.xǁPublicAdapterǁsend: "
            "return super().send(request, stream, timeout, verify, cert, proxies) -> "
            f"return super().send(request, stream, timeout, verify, cert, {none})"
            for none in ("", "None")
        ),
        "no proxy is for this request, or it would have been refused",
    ),
    "circuits.calls.bounded.xǁ_Boundedǁ_first_of: "
    "for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True): -> "
    "for left, address in zip(range(len(addresses), 0, -1), addresses, ):": (
        "both are of the same length"
    ),
    **dict.fromkeys(
        (
            "circuits.calls.guard.x__awaited: "
            "if succeed_in_memory(ticket, ticket.started_at): -> "
            "if succeed_in_memory(ticket, None):",
            "circuits.calls.guard.xǁguardǁ__aexit__: "
            "if succeed_in_memory(ticket, ticket.started_at): -> "
            "if succeed_in_memory(ticket, None):",
        ),
        "the ticket of an async call knows itself when that began",
    ),
    **dict.fromkeys(
        (
            "circuits.calls.guard.x__awaited: "
            "ticket = begin_in_memory(name) or await abegin(name, with_faults=with_faults) -> "
            "ticket = begin_in_memory(None) or await abegin(name, with_faults=with_faults)",
            "circuits.calls.guard.xǁguardǁ__aenter__: "
            "self._ticket = begin_in_memory(self._name) or await abegin(self._name) -> "
            "self._ticket = begin_in_memory(None) or await abegin(self._name)",
        ),
        "abegin asks the memory too; to ask it before only saves time",
    ),
    "circuits.calls.guard.xǁguardǁ__init__: "
    "self._name = name if known else check_name(name) -> "
    "self._name = name if (known) and False else check_name(name)": (
        "a name that has a gate is valid; not to check it again only saves time"
    ),
    **dict.fromkeys(
        (
            "circuits.calls.guard.xǁguardǁ__aenter__: "
            "self._is_used = False -> self._is_used = None",
            "circuits.calls.guard.xǁguardǁ__enter__: self._is_used = False -> self._is_used = None",
            "circuits.calls.guard.xǁguardǁ__init__: self._is_used = False -> self._is_used = None",
            "circuits.calls.guard.xǁguardǁ_take: self._is_used = False -> self._is_used = None",
        ),
        "it is only asked whether it is true",
    ),
    **dict.fromkeys(
        (
            'circuits.calls.sessions.xǁCallSessionǁ__init__: self.mount("http://", _Adapter()) -> '
            'self.mount("HTTP://", _Adapter())',
            'circuits.calls.sessions.xǁCallSessionǁ__init__: self.mount("https://", _Adapter()) -> '
            'self.mount("HTTPS://", _Adapter())',
            "circuits.calls.sessions.xǁCallSessionǁrebuild_auth: "
            'prepared_request.headers.pop("Authorization", None) -> '
            'prepared_request.headers.pop("AUTHORIZATION", None)',
            "circuits.calls.sessions.xǁCallSessionǁrebuild_auth: "
            'prepared_request.headers.pop("Authorization", None) -> '
            'prepared_request.headers.pop("authorization", None)',
            "circuits.calls.sessions.x__given: "
            'if "Authorization" in CaseInsensitiveDict(request.headers or {}): -> '
            'if "AUTHORIZATION" in CaseInsensitiveDict(request.headers or {}):',
            "circuits.calls.sessions.x__given: "
            'if "Authorization" in CaseInsensitiveDict(request.headers or {}): -> '
            'if "authorization" in CaseInsensitiveDict(request.headers or {}):',
        ),
        "requests takes capitals and small letters for the same in schemes and headers",
    ),
    **dict.fromkeys(
        (
            "circuits.calls.uploads.x_is_marked: "
            'return getattr(error, "__dict__", {}).get(_MARK, False) is True -> '
            'return getattr(error, "__dict__", {}).get(_MARK, None) is True',
            "circuits.calls.uploads.x_is_marked: "
            'return getattr(error, "__dict__", {}).get(_MARK, False) is True -> '
            'return getattr(error, "__dict__", {}).get(_MARK, ) is True',
            "circuits.calls.uploads.xǁUploadǁ__init__: "
            "self._has_failed = False -> self._has_failed = None",
        ),
        "nothing tells None from False there",
    ),
    "circuits.core.forecast.x__bound: return 0.0 -> return 1.0": "it is only asked whether it is "
    "below NEVER, which is negative",
    "circuits.core.policy.x__number": "it runs when the module is loaded, before mutmut chooses a "
    "fault; put in by hand, each of its faults is noticed",
    'circuits.core.replay.xǁ_Playerǁ_merged: self._batch = "" -> self._batch = None': "an empty "
    "batch is only asked whether it is empty, and then set anew",
    **dict.fromkeys(
        ("circuits.storage.rows.x__latest", "circuits.storage.rows.x__or_kept"),
        "it runs when the module is loaded, as above",
    ),
    **dict.fromkeys(
        (
            "circuits.process.endings.x__do_within",
            "circuits.process.endings.x__is_fatal",
            "circuits.process.forks.x__after_fork",
            "circuits.process.forks.x__cut_off",
            "circuits.process.forks.x__is_in_memory",
            "circuits.process.forks.x__take",
            "circuits.process.forks.x_leave_connection_to_parent",
            "circuits.process.forks.x_leave_pool_to_parent",
            "circuits.process.runtime.x__flush_in_background",
            "circuits.process.runtime.x__renew",
            "circuits.process.runtime.x__tend",
        ),
        "it runs in processes that tests start, in which mutmut chooses no fault",
    ),
    **dict.fromkeys(
        (
            "circuits.process.lines.xǁLineǁ__init__: self._asked_at = FOREVER -> "
            "self._asked_at = None",
            "circuits.process.lines.xǁLineǁ__init__: self._is_cut = False -> self._is_cut = None",
        ),
        "it is set before it is first looked at, or only asked whether it is true",
    ),
    "circuits.process.workers.xǁWorkerǁ_next: self._is_watching = False -> "
    "self._is_watching = True": "then it only looks more often than it need",
    "circuits.process.gate.xǁRenewerǁlook_soon": "a protocol's method has no code of its own",
    "circuits.core.replay.xǁ_Playerǁ_told: failure = "
    "Failure(own_run=status.failure_count + 1, chance=self._chance()) -> failure = "
    "Failure(own_run=status.failure_count - 1, chance=self._chance())": (
        "a replay has one process and no time to settle, so the row's count alone decides"
    ),
    "circuits.process.asking.x__claim: if view.snapshot is not None and monotonic() < "
    "view.fresh_until: -> if view.snapshot is not None and monotonic() <= "
    "view.fresh_until:": (
        "at that one moment the view, which was read just before, decides as the row does"
    ),
    "circuits.process.asking.x__look: return snapshot if snapshot is known else "
    "gate.take(snapshot) -> return snapshot if (snapshot is known) and False else "
    "gate.take(snapshot)": ("to take the same snapshot over again only costs time"),
    "circuits.process.entry.x_admit_now: gate = _known(name) -> gate = _known(None)": (
        "asking by the store looks in memory first too"
    ),
    "circuits.process.entry.x_begin_own: return nesting.enter(ticket) if "
    "ticket.is_plain else ticket -> return nesting.enter(ticket) if (ticket.is_plain) "
    "or True else ticket": ("a ticket that is kept twice is the same ticket"),
    "circuits.process.flushing.x__write: for each, changed in zip(chunk, changes, "
    "strict=True): -> for each, changed in zip(chunk, changes, ):": (
        "a store returns one result for each tally"
    ),
    "circuits.process.gate.xǁGateǁ__init__: self.view: View[Ticket] = "
    "View(leave=self._leave(Permit(0))) -> self.view: View[Ticket] = "
    "View(leave=self._leave(Permit(None)))": ("a view without a snapshot admits nobody"),
    "circuits.process.gate.xǁTicketǁend: self.has_place = False -> self.has_place = None": (
        "it is only asked whether it is true"
    ),
    "circuits.process.nesting.x__ride_on: rider = Ticket(gate, outer.permit, "
    "outer.started_at) -> rider = Ticket(gate, outer.permit, )": (
        "a call that rides reports through its holder, whose start counts"
    ),
    "circuits.process.tallies.xǁOwnWindowǁ__init__: self._kept_at = 0.0 -> self._kept_at = 1.0": (
        "it is set before it has an effect"
    ),
    "circuits.process.tallies.xǁTalliesǁ__init__: self._run_generation = 0 -> "
    "self._run_generation = None": ("the first failure sets it, and there is no run before"),
    "circuits.process.tapes.x_follow: tape = tape or _tapes.setdefault(name, "
    "Tape(0.0)) -> tape = tape or _tapes.setdefault(name, Tape(1.0))": ("its end is set next"),
    "circuits.storage.database.xǁDatabaseStoreǁ_expired: for (row, step), each in "
    "zip(moved, transitions, strict=True) -> for (row, step), each in zip(moved, "
    "transitions, )": ("each row that moved has one transition"),
    "circuits.storage.database.xǁDatabaseStoreǁforget_refusals: is_any = "
    'steady.order_by("urgency", "name").values_list("pk", flat=True).first() -> '
    'is_any = steady.order_by("urgency", "name").values_list("pk", '
    "flat=False).first()": ("it is only asked whether there is one"),
    'circuits.storage.families.x_save_policy: took.update(alike.values_list("pk", '
    "flat=True)) -> took.update(alike.values_list(flat=True))": ("the first column is the key"),
    "circuits.storage.rows.x__of_circuit: return "
    "model._default_manager.using(alias).filter(circuit_id=Subquery(keys)).order_by() "
    "-> return "
    "model._default_manager.using(None).filter(circuit_id=Subquery(keys)).order_by()": (
        "the statement is compiled for the alias that runs it"
    ),
    'circuits.storage.texts.x_in_ascii: return plain.encode("ascii", '
    '"replace").decode("ascii")[: len(text)] -> return plain.encode("ascii", '
    '"replace").decode("ASCII")[: len(text)]': ("the names of encodings have no case"),
    "circuits.storage.testruns.x__notice": ("it runs in processes that tests start, as above"),
    "circuits.storage.testruns.x__watch_unittest": (
        "it runs in processes that tests start, as above"
    ),
}

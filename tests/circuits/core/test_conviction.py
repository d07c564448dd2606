"""Whose failures open a circuit for all: the decision alone, tested by tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from circuits.core import conviction, machine, windows
from circuits.core.conviction import MANY
from circuits.core.policy import Policy
from circuits.core.status import (
    Admission,
    Batch,
    Failure,
    Mode,
    Permit,
    Quarantine,
    Reason,
    State,
    Status,
    Step,
    Witness,
)
from circuits.core.windows import counted

NOW = 1000.0
SETTLE = 0.2
POLICY = Policy(threshold=3, delay=10, max_delay=300)
RATE = Policy(threshold=3, delay=10, strategy="rate", minimum_calls=4)  # type: ignore[arg-type]

#: The process that these tests are about, and two others.
ME, OTHER, THIRD = "web-1:1:a", "web-2:2:b", "web-3:3:c"


def witness(process: str = ME, succeeded_at: float | None = None) -> Witness:
    return Witness(process=process, judge_seconds=SETTLE, succeeded_at=succeeded_at)


def fail(
    status: Status, process: str = ME, now: float = NOW, settle: float = SETTLE, own_run: int = 1
) -> Step:
    failure = Failure(own_run=own_run, settle_seconds=settle, witness=witness(process))
    return machine.fail(status, POLICY, Permit(status.generation), now, failure)


def succeed(status: Status, process: str = OTHER, now: float = NOW) -> Step:
    return machine.succeed(status, POLICY, Permit(status.generation), now, witness(process))


def run(count: int, by: str = ME, **more: Any) -> Status:
    """Return a closed circuit with a run of failures that began now."""
    return Status(failure_count=count, run_started_at=NOW, run_by=by, **more)


#: The fields that say that another process than ME had a success, a second ago and long ago.
WELL: dict[str, Any] = {"succeeded_by": OTHER, "last_success_at": NOW - 1}
LONG_AGO: dict[str, Any] = {"succeeded_by": OTHER, "last_success_at": NOW - 11}


# In a row ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "own_run", "settle", "age", "becomes"),
    [
        pytest.param(run(1, **WELL), 2, SETTLE, 9, "closed", id="too few"),
        pytest.param(run(2), 3, SETTLE, 0, "open", id="alone, and nobody speaks for the remote"),
        pytest.param(run(2, **LONG_AGO), 3, SETTLE, 0, "open", id="alone, a success of long ago"),
        pytest.param(run(2, **WELL), 3, SETTLE, 0, "accused", id="alone, others succeed"),
        pytest.param(run(2, **WELL), 3, SETTLE, 0.2, "open", id="alone, and nobody refuted it"),
        pytest.param(run(2, **WELL), 3, 0, 0, "accused", id="exact, alone, others succeed"),
        pytest.param(run(2, OTHER, **WELL), 1, 0, 0, "open", id="exact, and two have a part"),
        pytest.param(run(2, MANY), 1, SETTLE, 0, "closed", id="young, of several"),
        pytest.param(run(2, MANY), 1, SETTLE, 0.2, "open", id="old, of several"),
        pytest.param(run(5, MANY, accuser=OTHER, **WELL), 3, SETTLE, 0, "open", id="two accuse it"),
        pytest.param(
            run(5, MANY, accuser=OTHER, **WELL), 2, SETTLE, 0, "closed", id="one accuses it"
        ),
        pytest.param(
            run(0, "", **WELL), 3, SETTLE, 0, "alone", id="a success fell into its own run"
        ),
        pytest.param(
            run(0, ""), 3, SETTLE, 0, "closed", id="its run was cleared, but by no success"
        ),
    ],
)
def test_a_failure_convicts_accuses_or_is_its_process_alone(
    status: Status, own_run: int, settle: float, age: float, becomes: str
) -> None:
    after = fail(status, now=NOW + age, settle=settle, own_run=own_run).status
    found = "open" if after.state is State.OPEN else "closed"
    if found == "closed" and after.accuser == ME:
        found = "accused"
    if conviction.quarantine_of(after, ME) is not None:
        found = "alone"
    assert found == becomes


def test_forced_closed_accuses_nobody_and_leaves_nobody_alone() -> None:
    status = fail(run(2, mode=Mode.FORCED_CLOSED, **WELL), own_run=3).status
    assert (status.state, status.accuser, status.quarantines) == ("closed", "", ())


def accused(**more: Any) -> Status:
    """Return a circuit that ME accuses, while others had a success a second ago."""
    status = fail(run(2, **WELL, **more), own_run=3).status
    assert status.accuser == ME
    return status


def admit(status: Status, process: str = ME, now: float = NOW, **more: Any) -> Admission:
    return machine.admit(status, POLICY, now, "token", witness=witness(process, **more))


def test_who_accuses_the_remote_refuses_its_own_calls_and_no_others() -> None:
    status = accused()
    assert admit(status).retry_after == pytest.approx(SETTLE)
    assert admit(status, OTHER).permit == Permit(0)


def test_an_accusation_that_nobody_refutes_in_time_opens_it_for_all() -> None:
    assert admit(accused(), now=NOW + 0.1).change is None
    late = admit(accused(), now=NOW + SETTLE)
    assert late.change is not None
    assert (late.status.state, late.change.reason, late.permit) == ("open", "failures", None)
    assert admit(accused(), OTHER, now=NOW + SETTLE).change is None, "only who accuses it"


def test_a_success_elsewhere_refutes_it_and_leaves_the_accuser_alone() -> None:
    status = succeed(accused()).status
    assert (status.failure_count, status.accuser, status.run_by) == (0, "", "")
    assert status.quarantines == (Quarantine(ME, NOW, NOW + 10, 1),)
    assert admit(status).is_alone
    assert admit(status).retry_after == pytest.approx(10)
    assert admit(status, OTHER).permit == Permit(0)


def test_an_own_success_takes_the_accusation_back() -> None:
    status = succeed(accused(), ME).status
    assert (status.failure_count, status.accuser, status.quarantines) == (0, "", ())


def test_a_success_since_the_run_began_refutes_as_soon_as_its_process_hears_of_it() -> None:
    status = accused()
    before = machine.testify(status, POLICY, NOW + 1, witness(OTHER, succeeded_at=NOW))
    assert before.status is status
    status = replace(status, window=windows.Window(recent="ff"))
    since = machine.testify(status, POLICY, NOW + 1, witness(OTHER, succeeded_at=NOW + 0.1))
    assert since.change is None
    assert since.status.window == windows.EMPTY
    assert (since.status.succeeded_by, since.status.last_success_at) == (OTHER, NOW + 1)
    assert conviction.quarantine_of(since.status, ME) is not None


# In quarantine -----------------------------------------------------------------------------------


def alone(tries: int = 1) -> Status:
    """Return a circuit that ME alone cannot reach; its quarantine ends now."""
    return Status(quarantines=(Quarantine(ME, NOW - 60, NOW, tries),))


def test_after_its_delay_it_makes_one_trial_of_its_own() -> None:
    first = admit(alone())
    assert first.permit == Permit(0, "token")
    second = admit(first.status)
    assert (second.permit, second.is_alone) == (None, True)
    assert second.status is first.status
    assert admit(first.status, now=NOW + POLICY.lease_seconds).permit is not None, "it gave up"


@pytest.mark.parametrize(("tries", "wait"), [(0, 10), (1, 20), (2, 40), (4, 160), (9, 300)])
def test_a_failed_trial_of_its_own_doubles_the_pause_and_counts_for_nobody_else(
    tries: int, wait: float
) -> None:
    trial = admit(alone(tries))
    assert trial.permit is not None
    failure = Failure(own_run=1, witness=witness())
    after = machine.fail(trial.status, POLICY, trial.permit, NOW, failure).status
    assert (after.failure_count, after.state) == (0, "closed")
    assert after.quarantines[0].until == NOW + wait
    assert after.quarantines[0].tries == tries + 1


def test_a_good_trial_of_its_own_frees_it() -> None:
    trial = admit(alone())
    assert trial.permit is not None
    after = machine.succeed(trial.status, POLICY, trial.permit, NOW, witness()).status
    assert (after.quarantines, after.succeeded_by) == ((), ME)


def test_a_trial_of_its_own_that_says_nothing_gives_its_place_back() -> None:
    trial = admit(alone())
    assert trial.permit is not None
    assert admit(machine.release(trial.status, trial.permit).status).permit is not None


def test_a_trial_of_its_own_that_goes_on_keeps_its_place() -> None:
    trial = admit(alone())
    assert trial.permit is not None
    later = NOW + POLICY.lease_seconds - 1
    held = machine.renew(trial.status, POLICY, trial.permit, later).status
    assert held.leases == ()
    assert admit(held, now=NOW + POLICY.lease_seconds).permit is None
    assert admit(held, now=later + POLICY.lease_seconds).permit is not None


def test_its_other_failures_count_for_nobody() -> None:
    status = alone()
    assert fail(status, own_run=9).status is status


def test_a_success_of_an_older_call_frees_it_too() -> None:
    assert succeed(alone(), ME).status.quarantines == ()


@pytest.mark.parametrize("mode", [Mode.FORCED_CLOSED, Mode.OBSERVE])
def test_a_mode_that_refuses_nothing_refuses_it_nothing_either(mode: Mode) -> None:
    waiting = replace(alone(), mode=mode, quarantines=(Quarantine(ME, NOW, NOW + 9, 1),))
    assert admit(waiting).permit is not None


def test_staff_who_reset_the_circuit_free_all() -> None:
    assert machine.reset(alone(), NOW).status.quarantines == ()


def test_one_that_does_not_come_back_is_forgotten() -> None:
    status = alone()
    assert conviction.live_quarantines(status, POLICY, NOW + 59) == status.quarantines
    assert conviction.live_quarantines(status, POLICY, NOW + 60) == ()


def test_a_clock_that_was_set_back_ends_it() -> None:
    status = Status(quarantines=(Quarantine(ME, NOW, NOW + 10, 1),))
    assert admit(status, now=NOW - 3600).permit is not None


# Opened by one alone -----------------------------------------------------------------------------


def opened_alone(**more: Any) -> Status:
    status = fail(run(2, **more), own_run=3).status
    assert (status.state, status.accuser, status.run_by) == ("open", ME, ME)
    return status


def test_who_has_succeeded_since_closes_what_one_alone_has_opened() -> None:
    found = admit(opened_alone(), OTHER, now=NOW + 0.1, succeeded_at=NOW + 0.05)
    assert found.change is not None
    assert (found.status.state, found.change.reason) == ("closed", Reason.REFUTED)
    assert conviction.quarantine_of(found.status, ME) is not None
    assert found.permit is not None


@pytest.mark.parametrize(
    ("more", "process", "succeeded_at"),
    [
        ({}, OTHER, NOW - 0.1),
        ({}, OTHER, None),
        ({}, ME, NOW + 0.1),
        ({"run_by": MANY}, OTHER, NOW + 0.1),
        ({"reopen_count": 1}, OTHER, NOW + 0.1),
        ({"mode": Mode.FORCED_OPEN}, OTHER, NOW + 0.1),
    ],
)
def test_nothing_else_refutes_an_opening(
    more: dict[str, Any], process: str, succeeded_at: float | None
) -> None:
    status = replace(opened_alone(), **more)
    assert admit(status, process, now=NOW + 0.2, succeeded_at=succeeded_at).status is status


def test_the_accuser_lets_the_others_try_first_for_a_second() -> None:
    half_open = machine.expire(opened_alone(**LONG_AGO, leases=()), NOW + 10).status
    half_open = replace(half_open, last_success_at=NOW - 1)
    assert admit(half_open, ME, now=NOW + 10).permit is None
    assert admit(half_open, OTHER, now=NOW + 10).permit is not None
    assert admit(half_open, ME, now=NOW + 11).permit is not None, "nobody else came"


def test_the_only_process_tries_at_once() -> None:
    half_open = machine.expire(opened_alone(), NOW + 10).status
    assert admit(half_open, ME, now=NOW + 10).permit is not None


def closed_by_trial_of(process: str, status: Status) -> Status:
    trial = admit(machine.expire(status, NOW + 10).status, process, now=NOW + 12)
    assert trial.permit is not None
    return machine.succeed(trial.status, POLICY, trial.permit, NOW + 12, witness(process)).status


def test_another_ones_good_trial_puts_the_accuser_to_the_proof() -> None:
    status = closed_by_trial_of(OTHER, opened_alone())
    assert status.state is State.CLOSED
    proof = admit(status, ME, now=NOW + 12)
    assert proof.permit is not None
    assert proof.permit.lease is not None, "by a trial of its own, at once"


@pytest.mark.parametrize("by", [ME, MANY])
def test_who_was_confirmed_or_tried_itself_need_prove_nothing(by: str) -> None:
    status = replace(opened_alone(), run_by=by)
    process = ME if by == ME else OTHER
    assert closed_by_trial_of(process, status).quarantines == ()


def test_a_second_process_whose_trial_fails_confirms_the_first() -> None:
    trial = admit(machine.expire(opened_alone(), NOW + 10).status, OTHER, now=NOW + 10)
    assert trial.permit is not None
    failure = Failure(witness=witness(OTHER))
    again = machine.fail(trial.status, POLICY, trial.permit, NOW + 10, failure).status
    assert (again.run_by, again.accuser) == (MANY, OTHER)


# By the rate -------------------------------------------------------------------------------------


def merge(
    status: Status, outcomes: str, process: str = ME, own_run: int = 0, **more: Any
) -> Status:
    batch = Batch(
        generation=status.generation,
        counts=counted(outcomes),
        recent=outcomes,
        own_run=own_run,
        settle_seconds=5,
        witness=witness(process, more.pop("succeeded_at", None)),
    )
    return machine.merge(status, RATE, more.pop("now", NOW), batch).status


#: A circuit with the rate strategy that has been closed for long.
LONG_CLOSED: dict[str, Any] = {"changed_at": NOW - 100}


def test_by_the_rate_one_process_alone_opens_if_nobody_speaks_for_the_remote() -> None:
    assert merge(Status(**LONG_CLOSED), "ffff", own_run=4).state is State.OPEN


def test_by_the_rate_one_process_accuses_where_others_succeed_and_a_success_refutes_it() -> None:
    status = merge(Status(**LONG_CLOSED, **WELL), "ffff", own_run=4)
    assert (status.state, status.accuser) == ("closed", ME)
    assert machine.refuses_itself(status, RATE, witness())
    status = merge(status, ".", OTHER, succeeded_at=NOW + 0.1, now=NOW + 0.1)
    assert (status.state, status.accuser) == ("closed", "")
    assert conviction.quarantine_of(status, ME) is not None
    status = merge(status, "...f", OTHER, now=NOW + 0.2)
    assert status.state is State.CLOSED, "what it had merged is forgotten"
    assert merge(status, "ffff", ME, own_run=9) is status


def test_by_the_rate_a_second_accuser_opens_at_once_and_time_does_too() -> None:
    status = merge(Status(**LONG_CLOSED, **WELL), "ffff", own_run=4)
    assert merge(status, "ff", OTHER).state is State.CLOSED
    assert merge(status, "ffff", OTHER, own_run=4).state is State.OPEN
    assert machine.judge(status, RATE, NOW + 0.1, witness()).change is None
    opened = machine.judge(status, RATE, NOW + SETTLE, witness())
    assert opened.change is not None
    assert opened.change.reason is Reason.FAILURE_RATE


def test_by_the_rate_an_accuser_whose_share_is_small_goes_on_calling() -> None:
    status = merge(Status(**LONG_CLOSED, **WELL), "." * 20, OTHER)
    status = merge(status, "ffff", own_run=4)
    assert status.accuser == ME
    assert not machine.refuses_itself(status, RATE, witness())
    assert machine.judge(status, RATE, NOW + 9, witness()).change is None


# Who last succeeded ------------------------------------------------------------------------------


def test_the_last_success_of_any_other_process_is_known_whoever_came_last() -> None:
    status = Status()
    for at, process in enumerate([OTHER, THIRD, ME, ME], start=1):
        status = conviction.heard_success(status, process, float(at))
    known = {who: conviction.other_succeeded_at(status, who) for who in (ME, OTHER, THIRD)}
    assert known == {ME: 2.0, OTHER: 4.0, THIRD: 4.0}


@pytest.mark.parametrize(
    ("succeeded_at", "state"),
    [(None, State.OPEN), (NOW - 1, State.OPEN), (NOW, State.OPEN), (NOW + 0.01, State.CLOSED)],
    ids=["never", "before", "as it began", "since then"],
)
def test_a_run_in_the_row_is_a_processs_own_unless_it_has_succeeded_since(
    succeeded_at: float | None, state: State
) -> None:
    """Threads that all fail open the circuit; threads that fail while others succeed do not."""
    failure = Failure(own_run=1, settle_seconds=SETTLE, witness=witness(ME, succeeded_at))
    step = machine.fail(run(2), POLICY, Permit(0), NOW + 0.02, failure)
    assert step.status.state is state


# Each rule by itself -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "process", "by"),
    [
        (Status(), ME, ME),
        (run(2, ME), ME, ME),
        (run(2, OTHER), ME, MANY),
        (run(2, MANY), ME, MANY),
        (Status(run_by=OTHER), ME, ME),
        (Status(), "", MANY),
        (run(2, ""), "", MANY),
    ],
)
def test_a_run_belongs_to_the_one_process_that_has_all_of_it(
    status: Status, process: str, by: str
) -> None:
    assert conviction.joined(status, process) == by
    assert conviction.is_lone(by) == (by == ME)


def test_an_unknown_process_is_not_a_lone_one() -> None:
    assert not conviction.is_lone("")


@pytest.mark.parametrize(
    ("status", "process", "at"),
    [
        (Status(last_success_at=5, other_succeeded_at=3), ME, None),
        (Status(succeeded_by=ME, last_success_at=5, other_succeeded_at=3), ME, 3),
        (Status(succeeded_by=OTHER, last_success_at=5, other_succeeded_at=3), ME, 5),
    ],
)
def test_the_last_success_of_another_is_that_of_whoever_was_not_this_one(
    status: Status, process: str, at: float | None
) -> None:
    assert conviction.other_succeeded_at(status, process) == at


@pytest.mark.parametrize(
    ("ago", "speaks"), [(0, True), (9.9, True), (10, False), (-9.9, True), (-10, False)]
)
def test_a_success_elsewhere_speaks_for_the_remote_for_ten_seconds(
    ago: float, speaks: bool
) -> None:
    status = Status(succeeded_by=OTHER, last_success_at=NOW - ago)
    assert conviction.others_succeed(status, witness(), NOW) == speaks


@pytest.mark.parametrize(
    ("status", "process", "seconds"),
    [
        (run(3, accuser=ME), ME, 0.2),
        (Status(accuser=ME), ME, 0.2),
        (Status(accuser=ME, run_started_at=NOW - 0.15), ME, 0.05),
        (Status(accuser=ME, run_started_at=NOW + 0.15), ME, 0.05),
        (Status(accuser=ME, run_started_at=NOW - 9), ME, 0.0),
        (run(3, accuser=OTHER), ME, None),
        (run(3), ME, None),
        (run(3), "", None),
    ],
)
def test_an_accusation_is_decided_once_its_run_is_old_enough(
    status: Status, process: str, seconds: float | None
) -> None:
    found = conviction.verdict_in(status, witness(process), NOW)
    assert found == (None if seconds is None else pytest.approx(seconds))


OPENED_BY_OTHER: dict[str, Any] = {
    "state": State.OPEN,
    "run_started_at": NOW - 1,
    "run_by": OTHER,
    "opened_at": NOW - 1,
    "retry_at": NOW + 9,
}


@pytest.mark.parametrize(
    ("status", "succeeded_at", "refutes"),
    [
        (Status(accuser=OTHER, run_started_at=NOW - 1), NOW, True),
        (Status(accuser=OTHER, run_started_at=NOW - 99), NOW - 50, True),
        (Status(accuser=OTHER, run_started_at=NOW - 1), NOW - 1, False),
        (Status(accuser=OTHER, run_started_at=NOW - 1), NOW - 2, False),
        (Status(accuser=OTHER, run_started_at=NOW - 1), None, False),
        (Status(accuser=OTHER), NOW, False),
        (Status(accuser=ME, run_started_at=NOW - 1), NOW, False),
        (Status(run_started_at=NOW - 1), NOW, False),
        (Status(**OPENED_BY_OTHER), NOW, True),
        (Status(**OPENED_BY_OTHER), NOW - 1, False),
        (Status(**OPENED_BY_OTHER), None, False),
        (Status(**OPENED_BY_OTHER | {"run_started_at": NOW - 99}), NOW - 9.9, True),
        (Status(**OPENED_BY_OTHER | {"run_started_at": NOW - 99}), NOW - 10, False),
        (Status(**OPENED_BY_OTHER | {"run_started_at": NOW - 99}), NOW + 10, False),
        (Status(**OPENED_BY_OTHER | {"run_started_at": None}), NOW, False),
        (Status(**OPENED_BY_OTHER | {"run_by": ME}), NOW, False),
        (Status(**OPENED_BY_OTHER | {"run_by": MANY}), NOW, False),
        (Status(**OPENED_BY_OTHER | {"run_by": ""}), NOW, False),
        (Status(**OPENED_BY_OTHER, reopen_count=1), NOW, False),
        (Status(**OPENED_BY_OTHER | {"state": State.HALF_OPEN}), NOW, False),
    ],
)
def test_a_later_success_refutes_what_only_another_process_says(
    status: Status, succeeded_at: float | None, refutes: bool
) -> None:
    assert conviction.can_refute(status, witness(ME, succeeded_at), NOW) == refutes


@pytest.mark.parametrize(
    ("seconds", "since", "passed"),
    [(2, 8, True), (2, 8.1, False), (2, 10, False), (2, 11.9, False), (2, 12, True), (0, 10, True)],
)
def test_a_time_has_passed_whichever_way_the_clock_was_set(
    seconds: float, since: float, passed: bool
) -> None:
    assert conviction.has_passed(seconds, since, 10.0) == passed


def test_a_quarantine_grows_from_when_it_was_found_and_that_moment_stays() -> None:
    first = conviction.quarantined(Status(), POLICY, ME, NOW)
    assert first.quarantines == (Quarantine(ME, NOW, NOW + 10, 1),)
    second = conviction.quarantined(first, POLICY, ME, NOW + 10)
    assert second.quarantines == (Quarantine(ME, NOW, NOW + 30, 2),)
    both = conviction.quarantined(second, POLICY, OTHER, NOW + 11)
    assert both.quarantines == (*second.quarantines, Quarantine(OTHER, NOW + 11, NOW + 21, 1))
    long = replace(POLICY, delay=400)
    assert conviction.quarantined(Status(), long, ME, NOW).quarantines[0].until == NOW + 400


def test_one_on_probation_tries_at_once_and_its_quarantine_begins_with_a_failure() -> None:
    status = conviction.on_probation(Status(), POLICY, ME, NOW)
    assert status.quarantines == (Quarantine(ME, NOW, NOW, 0),)
    failed = conviction.quarantined(status, POLICY, ME, NOW + 1)
    assert failed.quarantines == (Quarantine(ME, NOW + 1, NOW + 11, 1),)


TWO = (Quarantine(OTHER, NOW, NOW + 5, 2), Quarantine(ME, NOW, NOW + 10, 1))


def test_the_trial_and_the_release_of_one_leave_the_other_alone() -> None:
    status = Status(quarantines=TWO)
    trying = conviction.trying(status, TWO[1], NOW + 40, "token")
    assert trying.quarantines == (TWO[0], Quarantine(ME, NOW, NOW + 40, 1, "token"))
    assert conviction.freed(status, ME).quarantines == TWO[:1]
    assert conviction.freed(status, THIRD) is status
    assert conviction.quarantine_of(status, OTHER) is TWO[0]
    assert conviction.quarantine_of(Status(quarantines=(Quarantine("", 0, 0, 1),)), "") is None


@pytest.mark.parametrize(
    ("now", "left"), [(NOW - 0.1, 0), (NOW, 10), (NOW + 4, 6), (NOW + 10, 0), (NOW + 99, 0)]
)
def test_what_remains_of_a_quarantine(now: float, left: float) -> None:
    assert conviction.remaining(TWO[1], now) == pytest.approx(left)


@pytest.mark.parametrize(
    ("policy", "patience"),
    [
        (POLICY, 60),
        (Policy(delay=100), 100),
        (Policy(delay=70, lease_seconds=200), 200),
    ],
)
def test_a_quarantine_is_forgotten_after_a_minute_a_delay_or_a_lease(
    policy: Policy, patience: float
) -> None:
    status = Status(quarantines=TWO)
    before, after = (NOW + 10 + patience + more for more in (-0.1, 0))
    assert conviction.live_quarantines(status, policy, before) == TWO[1:]
    assert conviction.live_quarantines(status, policy, after) == ()
    kept = conviction.quarantined(status, policy, THIRD, before).quarantines
    assert [each.process for each in kept] == [ME, THIRD]


def test_a_hundred_may_be_in_quarantine_at_once() -> None:
    full = Status()
    for number in range(conviction.MOST_QUARANTINES):
        full = conviction.quarantined(full, POLICY, f"web-{number}", NOW)
    assert len(full.quarantines) == conviction.MOST_QUARANTINES == 100
    assert conviction.quarantined(full, POLICY, ME, NOW) is full
    again = conviction.quarantined(full, POLICY, "web-7", NOW)
    assert conviction.quarantine_of(again, "web-7") == Quarantine("web-7", NOW, NOW + 20, 2)
    assert len(again.quarantines) == 100


@pytest.mark.parametrize(
    ("changes", "after", "seconds"),
    [
        ({}, 0.0, 1.0),
        ({}, 0.4, 0.6),
        ({}, 1.0, 0.0),
        ({}, 1.5, 0.0),
        ({}, -0.5, 0.0),  # the clock was set back
        ({"changed_at": None}, 0.0, 0.0),
        ({"accuser": OTHER}, 0.0, 0.0),
        ({"accuser": ""}, 0.0, 0.0),
        ({"succeeded_by": ""}, 0.0, 0.0),
        ({"succeeded_by": ME}, 0.0, 0.0),
        ({"last_success_at": NOW - 20}, 0.0, 1.0),  # shortly before the run began
        ({"last_success_at": NOW - 20.1}, 0.0, 0.0),
        ({"run_started_at": None, "last_success_at": NOW - 17}, 0.0, 1.0),
        ({"run_started_at": None, "last_success_at": NOW - 17.1}, 0.0, 0.0),
        ({"run_started_at": None, "opened_at": None}, 0.0, 0.0),
        ({"quarantines": TWO, "accuser": ""}, 0.0, 10.0),
        ({"quarantines": TWO, "accuser": ""}, 9.7, 0.3),
        ({"quarantines": (Quarantine(ME, NOW, NOW, 0),), "accuser": ""}, 0.25, 0.75),
    ],
)
def test_who_may_be_broken_itself_lets_the_others_try_first(
    changes: dict[str, Any], after: float, seconds: float
) -> None:
    known: dict[str, Any] = {
        "state": State.HALF_OPEN,
        "changed_at": NOW,
        "run_started_at": NOW - 10,
        "opened_at": NOW - 7,
        "accuser": ME,
        "succeeded_by": OTHER,
        "last_success_at": NOW - 12,
    }
    status = Status(**known | changes)
    found = conviction.yields_for(status, witness(), NOW + after)
    assert found == pytest.approx(seconds)
    assert conviction.yields_for(replace(status, accuser=""), witness(""), NOW + after) == 0.0


def test_by_the_rate_a_call_that_succeeds_refutes_an_accusation_and_frees_its_process() -> None:
    accused = merge(Status(**LONG_CLOSED, **WELL), "ffff", own_run=4)
    assert (accused.accuser, accused.run_started_at) == (ME, NOW)
    step = machine.succeed(accused, RATE, Permit(0), NOW + 0.1, witness(OTHER))
    assert (step.change, step.status.accuser) == (None, "")
    assert conviction.quarantine_of(step.status, ME) is not None
    assert step.status.succeeded_by == OTHER
    failure = Failure(witness=witness(OTHER))
    failed = machine.fail(accused, RATE, Permit(0), NOW + 0.1, failure).status
    assert failed.accuser == ME, "a failure refutes nothing"
    convicted = machine.judge(accused, RATE, NOW + SETTLE, witness(ME)).status
    assert (convicted.run_by, convicted.accuser) == (ME, ME)
    freed = machine.succeed(step.status, RATE, Permit(0), NOW + 0.2, witness(ME)).status
    assert freed.quarantines == ()


@pytest.mark.parametrize(
    ("changes", "own_run", "state"),
    [
        ({}, 0, State.CLOSED),  # a young window
        ({"changed_at": NOW - 4.9}, 0, State.CLOSED),
        ({"changed_at": NOW - 5}, 0, State.OPEN),
        ({"changed_at": None}, 0, State.OPEN),
        ({}, 3, State.CLOSED),
        ({}, 4, State.OPEN),  # as many in a row as the window must hold
        (WELL, 4, State.CLOSED),
        (LONG_AGO, 4, State.OPEN),
        ({**WELL, "accuser": OTHER, "run_started_at": NOW}, 4, State.OPEN),
        ({**WELL, "accuser": OTHER, "run_started_at": NOW}, 3, State.CLOSED),
        ({**WELL, "accuser": ME, "run_started_at": NOW - 0.1}, 4, State.CLOSED),
        ({**WELL, "accuser": ME, "run_started_at": NOW - 0.2}, 4, State.OPEN),
        ({**WELL, "accuser": ME, "run_started_at": NOW - 0.2}, 0, State.OPEN),
        ({**WELL, "accuser": ME}, 4, State.CLOSED),
    ],
)
def test_by_the_rate_a_window_past_its_limit_opens_by_these_rules(
    changes: dict[str, Any], own_run: int, state: State
) -> None:
    status = Status(**{"changed_at": NOW - 1, **changes})
    assert merge(status, "ffff", own_run=own_run).state is state


@pytest.mark.parametrize(
    ("changes", "own_run", "by"),
    [
        ({}, 4, ME),
        ({"changed_at": NOW - 9}, 0, MANY),
        ({**WELL, "accuser": OTHER, "run_started_at": NOW}, 4, MANY),
    ],
)
def test_by_the_rate_an_opening_says_whether_one_process_alone_made_it(
    changes: dict[str, Any], own_run: int, by: str
) -> None:
    status = merge(Status(**{"changed_at": NOW - 1, **changes}), "ffff", own_run=own_run)
    assert (status.run_by, status.accuser) == (by, ME if by == ME else "")
    assert status.window == windows.EMPTY


@pytest.mark.parametrize(
    ("changes", "own_run", "accuser"),
    [
        (WELL, 4, ME),
        (WELL, 3, ""),
        (LONG_AGO, 4, ""),
        ({**WELL, "accuser": OTHER, "run_started_at": NOW - 1}, 4, OTHER),
    ],
)
def test_by_the_rate_a_process_accuses_if_others_succeed_and_nobody_has_accused_before(
    changes: dict[str, Any], own_run: int, accuser: str
) -> None:
    status = merge(Status(**LONG_CLOSED, **changes), "." * 20, OTHER)
    status = merge(status, "ffff", own_run=own_run)
    assert (status.state, status.accuser) == ("closed", accuser)
    assert status.run_started_at == (NOW if accuser == ME else changes.get("run_started_at"))


def test_by_the_rate_no_success_from_before_an_accusation_refutes_it() -> None:
    accused = merge(Status(**LONG_CLOSED, **WELL), "ffff", own_run=4)
    for at in (None, NOW - 1, NOW):
        assert merge(accused, ".", OTHER, succeeded_at=at).accuser == ME
    undated = replace(accused, run_started_at=None)
    assert merge(undated, ".", OTHER, succeeded_at=NOW - 1).accuser == ""
    own = merge(accused, ".", ME, succeeded_at=NOW + 1)
    assert (own.accuser, own.quarantines) == ("", ())
    assert windows.totals(own.window) == windows.counted("ffff.")
    others = merge(accused, ".", OTHER, succeeded_at=NOW + 1)
    assert windows.totals(others.window) == windows.counted(".")

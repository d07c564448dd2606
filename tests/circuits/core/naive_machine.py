"""A naive circuit to compare the machine with, written plainly and independently of the app.

It is one mutable object, with lists and dicts instead of counts and tuples, and strings instead of
enums.
"""

from __future__ import annotations

from dataclasses import dataclass

from circuits.core.policy import Policy


@dataclass
class Call:
    """A call that was let through."""

    generation: int
    trial: str | None = None
    counts: bool = True


@dataclass
class Answer:
    """The answer to a caller: the call that may be made, the seconds to wait, or both."""

    call: Call | None = None
    wait: float | None = None


class NaiveCircuit:
    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.state = "closed"
        self.mode = "automatic"
        #: When the mode returns to automatic by itself.
        self.mode_ends_at: float | None = None
        #: Each change, with its reason and time; the generation is the number of changes.
        self.changes: list[tuple[str, str, str, float]] = []
        #: When each failure of the present run happened.
        self.failures: list[float] = []
        self.opened_at: float | None = None
        self.retry_at: float | None = None
        self.failed_recoveries = 0
        self.good_trials = 0
        #: The trials under way, and when the lease of each ends.
        self.trials: dict[str, float] = {}

    @property
    def generation(self) -> int:
        return len(self.changes)

    def _become(self, state: str, mode: str, reason: str, now: float) -> None:
        self.state = state
        self.mode = mode
        self.trials = {}
        self.changes.append((state, mode, reason, now))

    # What callers do

    def ask(self, now: float, token: str) -> Answer:
        self.let_time_pass(now)
        if self.mode == "forced_closed":
            return Answer(call=Call(self.generation))
        if self.mode == "forced_open":
            ends_at = self.mode_ends_at
            return Answer(wait=self.policy.delay if ends_at is None else ends_at - now)
        if self.state == "closed":
            return Answer(call=Call(self.generation))
        if self.state == "open":
            assert self.retry_at is not None
            return self._no(self.retry_at - now)
        under_way = {trial: until for trial, until in self.trials.items() if until > now}
        if len(under_way) == self.policy.half_open_max_calls:
            # What remains of the lease, and no more than a second.
            return self._no(min([1.0, *(until - now for until in under_way.values())]))
        self.trials = {**under_way, token: now + self.policy.lease_seconds}
        return Answer(call=Call(self.generation, trial=token))

    def _no(self, wait: float) -> Answer:
        if self.mode == "observe":
            return Answer(call=Call(self.generation, counts=False), wait=wait)
        return Answer(wait=wait)

    def _takes_result_of(self, call: Call) -> bool:
        if call.generation != self.generation or not call.counts:
            return False
        return self.state == "closed" or call.trial is not None

    def succeeded(self, call: Call, now: float) -> None:
        if not self._takes_result_of(call):
            return
        if self.state == "closed":
            self.failures = []
            return
        assert call.trial is not None
        self.trials.pop(call.trial, None)
        self.good_trials += 1
        if self.good_trials >= self.policy.success_threshold:
            self._close(self.mode, "trial_succeeded", now)

    def failed(
        self, call: Call, now: float, own_run: int, snapshot_seconds: float, chance: float
    ) -> None:
        if not self._takes_result_of(call):
            return
        if self.state == "half_open":
            self.failed_recoveries += 1
            self._open(self._grown_delay(chance), "trial_failed", now)
            return
        self.failures.append(now)
        if self.mode == "forced_closed":
            return
        # There are no processes here, and no success refutes a run of failures.
        is_run = len(self.failures) >= self.policy.threshold
        seen_by_one_process = own_run >= self.policy.threshold
        seen_by_all = now - self.failures[0] >= snapshot_seconds
        if is_run and (seen_by_one_process or seen_by_all):
            self._open(self.policy.delay, "failures", now)

    def came_to_nothing(self, call: Call) -> None:
        if call.generation == self.generation and call.trial is not None:
            self.trials.pop(call.trial, None)

    def holder_lives(self, call: Call, now: float) -> None:
        if call.generation != self.generation or call.trial is None:
            return
        others = {
            trial: until
            for trial, until in self.trials.items()
            if until > now and trial != call.trial
        }
        if len(others) < self.policy.half_open_max_calls:
            self.trials = {**others, call.trial: now + self.policy.lease_seconds}

    def _open(self, wait: float, reason: str, now: float) -> None:
        self.opened_at = now
        self.retry_at = now + wait
        self._become("open", self.mode, reason, now)

    def _close(self, mode: str, reason: str, now: float) -> None:
        self.failures = []
        self.opened_at = self.retry_at = None
        self.failed_recoveries = self.good_trials = 0
        self._become("closed", mode, reason, now)

    def _grown_delay(self, chance: float) -> float:
        longest = max(self.policy.delay, self.policy.max_delay)
        wait = self.policy.delay
        for _ in range(self.failed_recoveries):
            wait = min(wait * self.policy.backoff_factor, longest)
        return wait - wait * self.policy.jitter * chance

    # What time and people do

    def let_time_pass(self, now: float) -> None:
        mode, state, reason = self.mode, self.state, "delay_passed"
        if self.mode_ends_at is not None and now >= self.mode_ends_at:
            mode, reason = "automatic", "mode_over"
            self.mode_ends_at = None
        if state == "open" and mode in ("automatic", "observe"):
            assert self.retry_at is not None
            if now >= self.retry_at:
                state = "half_open"
                self.retry_at = None
                self.good_trials = 0
        if (state, mode) != (self.state, self.mode):
            self._become(state, mode, reason, now)

    def try_now(self, now: float) -> None:
        if self.state != "open" or self.mode == "forced_open":
            return
        self.retry_at = None
        self.good_trials = 0
        self._become("half_open", self.mode, "try_now", now)

    def reset(self, now: float) -> None:
        if self.mode == "forced_open":
            return
        if self.state != "closed":
            self._close(self.mode, "reset", now)
        self.failures = []

    def set_mode(self, mode: str, now: float, ends_at: float | None = None) -> None:
        if mode == "automatic":
            ends_at = None
        had, self.mode_ends_at = self.mode_ends_at, ends_at
        if mode == self.mode:
            if had != ends_at:
                self._become(self.state, mode, "mode", now)
        elif mode == "forced_closed":
            self._close(mode, "mode", now)
        elif mode == "forced_open":
            self.opened_at = self.opened_at or now
            self.retry_at = now  # once it is let go, the next call tries
            self._become("open", mode, "mode", now)
        else:
            self._become(self.state, mode, "mode", now)

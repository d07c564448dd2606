"""The random numbers that decide whether a flaky call fails; a seed makes them repeatable."""

import random
from collections import OrderedDict
from threading import Lock


class SeededDraws:
    """Draws numbers by seed: the n-th draw of a seed is the same in every process and every run.

    It remembers how often it has drawn from each of the `max_seeds` seeds used last. A seed that it
    has forgotten begins again at its first draw.
    """

    def __init__(self, max_seeds: int = 1000) -> None:
        self._max_seeds = max_seeds
        self._lock = Lock()
        self._turns: OrderedDict[str, int] = OrderedDict()

    def draw(self, seed: str) -> float:
        """Return the next number of a seed, at least 0 and below 1."""
        return random.Random(f"{seed}:{self._next_turn(seed)}").random()

    def _next_turn(self, seed: str) -> int:
        with self._lock:
            turn = self._turns.pop(seed, 0) + 1
            self._turns[seed] = turn  # popped and put back, the seed is the most recently used
            if len(self._turns) > self._max_seeds:
                self._turns.popitem(last=False)
            return turn


seeded_draws = SeededDraws()


def draw(seed: str | None) -> float:
    """Return a number of at least 0 and below 1: the next of a seed, or any without a seed."""
    return random.random() if seed is None else seeded_draws.draw(seed)

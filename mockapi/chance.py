"""The draws that decide whether a flaky call fails: random, or repeatable by a seed."""

import random
from collections import OrderedDict
from threading import Lock


class SeededDraws:
    """Gives the n-th draw of a seed, which is the same in every process and on every run.

    Only how often each seed was drawn is kept, and only for the `max_seeds` used last; a seed
    that was forgotten begins again at its first draw.
    """

    def __init__(self, max_seeds: int = 1000) -> None:
        self._max_seeds = max_seeds
        self._lock = Lock()
        self._turns: OrderedDict[str, int] = OrderedDict()

    def draw(self, seed: str) -> float:
        """The seed's next number in [0, 1)."""
        return random.Random(f"{seed}:{self._next_turn(seed)}").random()

    def _next_turn(self, seed: str) -> int:
        with self._lock:
            turn = self._turns.pop(seed, 0) + 1
            self._turns[seed] = turn  # popped and put back, so now the most recently used
            if len(self._turns) > self._max_seeds:
                self._turns.popitem(last=False)
            return turn


seeded_draws = SeededDraws()


def draw(seed: str | None) -> float:
    """A number in [0, 1): the seed's next one, or without a seed any."""
    return random.random() if seed is None else seeded_draws.draw(seed)

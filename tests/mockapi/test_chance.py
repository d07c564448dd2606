import pytest

from mockapi import chance
from mockapi.chance import SeededDraws

from .threads import YieldingKey, run_in_threads


def test_nth_draw_of_a_seed_is_always_the_same() -> None:
    first, second = SeededDraws(), SeededDraws()

    assert [first.draw("a") for _ in range(20)] == [second.draw("a") for _ in range(20)]


def test_draws_of_a_seed_stay_the_same_across_releases() -> None:
    draws = SeededDraws()

    assert [round(draws.draw("7"), 3) for _ in range(4)] == [0.989, 0.251, 0.774, 0.436]


def test_draws_differ_from_turn_to_turn_and_from_seed_to_seed() -> None:
    draws = SeededDraws()

    assert len({draws.draw(seed) for seed in "ab" for _ in range(50)}) == 100


def test_seeds_do_not_disturb_each_other() -> None:
    alone, mixed = SeededDraws(), SeededDraws()
    expected = [alone.draw("a") for _ in range(3)]

    actual = []
    for _ in range(3):
        mixed.draw("b")
        actual.append(mixed.draw("a"))

    assert actual == expected


def test_forgets_the_seed_not_used_for_longest() -> None:
    draws = SeededDraws(max_seeds=2)
    first = {seed: draws.draw(seed) for seed in "ab"}
    draws.draw("a")  # now b is the one not used for longest
    draws.draw("c")

    assert draws.draw("a") != first["a"]
    assert draws.draw("b") == first["b"]


def test_a_thousand_seeds_are_remembered() -> None:
    draws = SeededDraws()
    first = {str(number): draws.draw(str(number)) for number in range(1000)}

    assert all(draws.draw(seed) != number for seed, number in first.items())
    assert len(draws._turns) == 1000

    draws.draw("one more")

    assert len(draws._turns) == 1000


def test_threads_share_out_the_turns_of_a_seed() -> None:
    shared, alone = SeededDraws(), SeededDraws()

    drawn = run_in_threads(lambda: shared.draw(YieldingKey("a")), times=400)

    assert sorted(drawn) == sorted(alone.draw("a") for _ in range(400))


def test_draw_without_a_seed_is_random(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mockapi.chance.random.random", lambda: 0.25)

    assert chance.draw(None) == 0.25

"""Child processes that call through circuits and end: each of their calls is counted once."""

from __future__ import annotations

import pytest

from . import Project
from .calls import Seen, calling, seen

#: How many calls of each kind the children make.
CALLS = 20

METHODS = ("fork", "spawn", "forkserver")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Make one project for all tests, each of which has circuits of its own."""
    return calling(tmp_path_factory.mktemp("project"))


def run(project: Project, code: str) -> None:
    """Run a program that makes calls of its own before its children do."""
    project.write("program.py", code)
    project.run("import runpy; runpy.run_path('program.py', run_name='__main__')")


def test_processes(project: Project) -> None:
    run(
        project,
        f"""
        import multiprocessing
        from shop import work

        if __name__ == "__main__":
            work.pay()
            for method in {METHODS}:
                context = multiprocessing.get_context(method)
                children = [context.Process(target=work.pay) for _ in range(3)]
                children += [context.Process(target=work.quote) for _ in range(4)]
                for child in children:
                    child.start()
                for child in children:
                    child.join()
                    assert child.exitcode == 0, child.exitcode
        """,
    )
    assert seen(project, "payments") == Seen("closed", 1 + 9, 0)
    quotes = seen(project, "quotes")
    assert quotes.state == "open", "no child alone sees a rate"
    # If one of the last four ends after the circuit has opened, its outcome no longer counts.
    assert 10 <= quotes.calls <= 12


@pytest.mark.parametrize("method", METHODS)
def test_a_pool(project: Project, method: str) -> None:
    run(
        project,
        f"""
        import multiprocessing
        from functools import partial
        from shop import work

        if __name__ == "__main__":
            pay = partial(work.pay, "{method} pool")
            pay()
            pool = multiprocessing.get_context({method!r}).Pool(2)
            assert pool.map(pay, range({CALLS})) == list(range({CALLS}))
            pool.close()
            pool.join()
        """,
    )
    assert seen(project, f"{method} pool") == Seen("closed", 1 + CALLS, 0)


@pytest.mark.parametrize("method", METHODS)
def test_an_executor_of_processes(project: Project, method: str) -> None:
    run(
        project,
        f"""
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        from functools import partial
        from shop import work

        if __name__ == "__main__":
            pay = partial(work.pay, "{method} executor")
            pay()
            context = multiprocessing.get_context({method!r})
            with ProcessPoolExecutor(2, mp_context=context) as pool:
                assert list(pool.map(pay, range({CALLS}))) == list(range({CALLS}))
        """,
    )
    assert seen(project, f"{method} executor") == Seen("closed", 1 + CALLS, 0)


def test_children_forked_by_hand(project: Project) -> None:
    run(
        project,
        """
        import os
        from shop import work

        for number in range(3):
            work.pay("by hand")
            child = os.fork()
            if not child:
                work.pay("by hand")
                os._exit(number)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == number
        """,
    )
    assert seen(project, "by hand") == Seen("closed", 6, 0)

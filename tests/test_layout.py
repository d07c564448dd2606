"""Checks the layout of the app: which room may import which."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import circuits

APP = Path(circuits.__file__).parent

#: What a module in each room may import of the app's rooms, beside its own. An arrow that is not
#: here points up, or past what lies between.
ARROWS = {
    "core": set(),
    "storage": {"core"},
    "process": {"core", "storage"},
    "calls": {"core", "storage", "process"},
    "steering": {"core", "storage", "process", "calls"},
    "reports": {"core", "storage", "process", "calls"},
    "upkeep": {"core", "storage", "calls", "reports"},
    "console": {"core", "storage", "process", "calls", "steering", "reports"},
    "management": {"core", "storage", "process", "calls", "steering", "reports"},
    "integrations": {"core", "storage", "process", "calls"},
    "templatetags": {"console"},
}

#: The modules outside the core that it may import.
OUTSIDE_OF_CORE = {"circuits.exceptions"}

#: The modules that only Django, or they themselves, may import.
LOADED_BY_DJANGO = {"circuits.admin", "circuits.tasks"}


def modules() -> Iterator[tuple[str, Path]]:
    for path in APP.rglob("*.py"):
        parts = path.relative_to(APP.parent).with_suffix("").parts
        if "migrations" not in parts:
            yield ".".join(part for part in parts if part != "__init__"), path


NAMES = dict(modules())


def imports(name: str, path: Path) -> set[str]:
    """Return the app's modules that a module imports, including for types and inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in NAMES}
        if isinstance(node, ast.ImportFrom):
            origin = _origin(node, name, path)
            for alias in node.names:
                whole = f"{origin}.{alias.name}"
                found.add(whole if whole in NAMES else origin)
    return found & NAMES.keys() - {name}


def _origin(node: ast.ImportFrom, name: str, path: Path) -> str:
    if not node.level:
        return node.module or ""
    steps = node.level - (path.name == "__init__.py")
    package = name.split(".")[: len(name.split(".")) - steps]
    return ".".join([*package, *(node.module.split(".") if node.module else [])])


IMPORTS = {name: imports(name, path) for name, path in NAMES.items()}


def room(name: str) -> str:
    """Return the room of a module; empty for a module at the top."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ARROWS else ""


def test_every_folder_of_the_app_is_a_room_that_says_what_it_is_for() -> None:
    packages = {path.parent.name for path in APP.glob("*/__init__.py")} - {"migrations"}
    assert packages == set(ARROWS)
    for each in packages - {"management"}:
        assert ast.get_docstring(ast.parse((APP / each / "__init__.py").read_text())), each


@pytest.mark.parametrize("name", sorted(IMPORTS))
def test_no_arrow_points_up(name: str) -> None:
    here = room(name)
    if here:
        assert {room(other) for other in IMPORTS[name]} - {"", here} <= ARROWS[here]
    assert not IMPORTS[name] & LOADED_BY_DJANGO
    above = here in {"console", "templatetags"} or name == "circuits.admin"
    assert above or "console" not in rooms_of(name)


def rooms_of(name: str) -> set[str]:
    return {room(other) for other in IMPORTS[name]}


@pytest.mark.parametrize("name", sorted(each for each in IMPORTS if room(each) == "core"))
def test_the_core_knows_nothing_of_django_or_the_world(name: str) -> None:
    assert {other for other in IMPORTS[name] if room(other) != "core"} <= OUTSIDE_OF_CORE
    tree = ast.parse(NAMES[name].read_text())
    outside = {
        (node.module or "").split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and not node.level
    } | {
        alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    pure = {
        "__future__",
        "bisect",
        "collections",
        "copy",
        "dataclasses",
        "enum",
        "heapq",
        "itertools",
        "math",
        "typing",
    }
    assert outside <= pure


def test_no_module_imports_itself_by_way_of_others() -> None:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a circle: {' -> '.join((*path, name))}"
        if name in done:
            return
        for other in IMPORTS[name]:
            visit(other, (*path, name))
        done.add(name)

    for each in NAMES:
        visit(each, ())


# The tests name what is public -------------------------------------------------------------------

TESTS = Path(__file__).parent

#: Private names of the app that a test may use nevertheless.
EXCEPTIONS = {
    ("tests/clock.py", "_clock"),  # of the stores that every process has, made when it begins
}

#: Private names that also belong to Python or Django.
OF_OTHERS = {"_exit", "_fields"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def named(tree: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    """Yield each name that a module looks up, imports or patches, with its owner if it has one.

    Args:
        tree: The syntax tree of the module.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=of, attr=name):
                yield name, of
            case ast.ImportFrom(names=aliases):
                yield from ((alias.name, None) for alias in aliases)
            case ast.Call(
                func=ast.Attribute(attr="setattr" | "delattr" | "object" | "patch")
                | ast.Name(id="getattr" | "setattr" | "delattr" | "patch"),
                args=[of, *rest],
            ):
                for each in (of, *rest[:1]):
                    if isinstance(each, ast.Constant) and isinstance(each.value, str):
                        yield each.value.split(".")[-1], of
            case ast.Subscript(
                value=ast.Call(func=ast.Name(id="vars")) as of, slice=ast.Constant(value=str(name))
            ):
                yield name, of


def defined(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a module defines, including those of its objects."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


PRIVATE = {
    name
    for path in NAMES.values()
    for name in defined(ast.parse(path.read_text()))
    if is_private(name)
} - OF_OTHERS


@pytest.mark.parametrize(
    "path", sorted(str(path.relative_to(TESTS.parent)) for path in TESTS.rglob("*.py"))
)
def test_no_test_goes_through_a_private_name_of_the_app(path: str) -> None:
    """Such a test breaks when the name changes, and may pass when the behaviour is broken."""
    tree = ast.parse((TESTS.parent / path).read_text())
    of_their_own = {name for name in defined(tree) if is_private(name)}
    used = {
        name
        for name, of in named(tree)
        if name in PRIVATE and not (isinstance(of, ast.Name) and of.id in ("self", "cls"))
    }
    assert used - of_their_own <= {name for where, name in EXCEPTIONS if where == path}


@pytest.mark.parametrize(
    "line",
    [
        "gate._swapping",
        "from circuits.process.threads import _run",
        "monkeypatch.setattr(threads, '_run', None)",
        "monkeypatch.setattr('circuits.process.threads._run', None)",
        "mock.patch.object(threads, '_run')",
        "mock.patch('circuits.process.threads._run')",
        "getattr(threads, '_run')",
        "vars(threads)['_run']",
    ],
)
def test_each_way_to_a_private_name_is_seen(line: str) -> None:
    assert {name for name, _of in named(ast.parse(line))} & PRIVATE


def test_the_tests_mirror_the_rooms() -> None:
    here = Path(__file__).parent / "circuits"
    assert {path.parent.name for path in here.glob("*/__init__.py")} == set(ARROWS)

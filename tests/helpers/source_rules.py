"""House rules as functions over parsed source; tests/unit/test_house_rules.py says which rule holds where."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "taskmaster_desktop/"
AGENT = "worker_image/taskmaster_worker/"
SOURCE_FOLDERS = (PACKAGE, AGENT, "tests/", "benchmarks/", "scripts/", "packaging/")

MODULE_LINES = 500
FUNCTION_LINES = 60

WALL_CLOCK = frozenset(
    {
        "time.time",
        "time.time_ns",
        "time.monotonic",
        "time.monotonic_ns",
        "datetime.datetime.now",
        "datetime.datetime.utcnow",
        "datetime.datetime.today",
        "datetime.date.today",
    }
)
QT_PACKAGES = frozenset({"PySide6", "shiboken6", "PyQt5", "PyQt6", "pyqtgraph", "qtpy"})


@dataclass(frozen=True, kw_only=True)
class Source:
    """One module: its path below the root, in POSIX form, its text and its tree."""

    path: str
    text: str
    tree: ast.Module

    @classmethod
    def of(cls, path: str, text: str) -> Source:
        return cls(path=path, text=text, tree=ast.parse(text))


Find = Callable[[Source], Iterator[int]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One thing this team does not write.

    Attributes:
        reason: why, and what to write instead.
        holds_in: whether a path is under the rule.
        find: line numbers of what breaks it.
        sample: the smallest text that breaks it.
    """

    name: str
    reason: str
    holds_in: Callable[[str], bool]
    find: Find
    sample: str


@cache
def all_sources() -> tuple[Source, ...]:
    """Every module of the project that people write; generated code is left out."""
    files = sorted(file for folder in SOURCE_FOLDERS for file in (ROOT / folder).rglob("*.py"))
    paths = [file.relative_to(ROOT).as_posix() for file in files if "_pb" not in file.parts]
    return tuple(Source.of(path, (ROOT / path).read_text(encoding="utf-8")) for path in paths)


def offenders(rule: Rule) -> list[str]:
    """`path:line` of everything in the project that breaks the rule."""
    under_it = [source for source in all_sources() if rule.holds_in(source.path)]
    return [f"{source.path}:{line}" for source in under_it for line in rule.find(source)]


def within(*prefixes: str, but: tuple[str, ...] = ()) -> Callable[[str], bool]:
    """Paths that begin with one of `prefixes` and with none of `but`."""
    return lambda path: path.startswith(prefixes) and not path.startswith(but or ("\0",))


def calls_of(*names: str) -> Find:
    """Calls of a dotted name, however it was imported."""

    def find(source: Source) -> Iterator[int]:
        aliases = _imported_names(source.tree)
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and _full_name(node.func, aliases) in names:
                yield node.lineno

    return find


def uses_of(names: frozenset[str]) -> Find:
    """Any mention of a dotted name, called or handed on."""

    def find(source: Source) -> Iterator[int]:
        aliases = _imported_names(source.tree)
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Attribute | ast.Name) and _full_name(node, aliases) in names:
                yield node.lineno

    return find


def imports_of(packages: frozenset[str]) -> Find:
    """Imports of one of the top-level packages or of anything inside."""

    def find(source: Source) -> Iterator[int]:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            if any(name.partition(".")[0] in packages for name in names):
                yield node.lineno

    return find


def sleeps(source: Source) -> Iterator[int]:
    """`time.sleep` at all, and `asyncio.sleep` of anything but a literal 0 (which only yields)."""
    aliases = _imported_names(source.tree)
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call):
            continue
        name = _full_name(node.func, aliases)
        yields = [isinstance(argument, ast.Constant) and argument.value == 0 for argument in node.args]
        if name == "time.sleep" or (name == "asyncio.sleep" and yields != [True]):
            yield node.lineno


def other_names_from(module: str, allowed: frozenset[str]) -> Find:
    """Uses of anything in `module` except `allowed`."""

    def find(source: Source) -> Iterator[int]:
        aliases = _imported_names(source.tree)
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Attribute | ast.Name):
                owner, _, name = (_full_name(node, aliases) or "").rpartition(".")
                if owner == module and name not in allowed:
                    yield node.lineno

    return find


def swallowed_exceptions(source: Source) -> Iterator[int]:
    """Handlers of everything that do nothing."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        catches_all = node.type is None or (
            isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
        )
        if catches_all and all(_does_nothing(statement) for statement in node.body):
            yield node.lineno


def long_module(source: Source) -> Iterator[int]:
    lines = source.text.count("\n")
    if lines > MODULE_LINES:
        yield lines


def long_functions(source: Source) -> Iterator[int]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield node.lineno


def left_over_marks(source: Source) -> Iterator[int]:
    """Notes to oneself; the words are put together here so that this file does not break the rule."""
    marks = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)) + r")\b")
    for number, line in enumerate(source.text.splitlines(), start=1):
        if marks.search(line):
            yield number


def _does_nothing(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Pass | ast.Continue):
        return True
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _imported_names(tree: ast.Module) -> dict[str, str]:
    """Local name -> full dotted name, for every import in the module."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                names[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _full_name(node: ast.expr, aliases: dict[str, str]) -> str | None:
    """The dotted name of an expression with imports resolved; builtins are called by their own name."""
    if isinstance(node, ast.Name):
        return aliases.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        owner = _full_name(node.value, aliases)
        return f"{owner}.{node.attr}" if owner else None
    return None

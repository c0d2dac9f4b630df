"""`{}` in a command: every kind of argument arrives as exactly one word, whatever it is made of.

In a command for the shell it depends on where `{}` stands: outside of quotes the argument is quoted, inside
double or single quotes it is escaped for those. So `cp {} "backup/{}.bak"` is right for a file called
`$(touch x)` too. Where the shell would read the word a second time (backquotes, here-documents), `{}` is refused.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taskmaster_desktop.backend.commands import Work
from taskmaster_desktop.backend.errors import UserError

MARK = "{}"
_PLAIN, _DOUBLE, _SINGLE = "", '"', "'"


@dataclass(frozen=True, slots=True)
class ShellTemplate:
    """A command split at its marks. `marks[i]` stands after `pieces[i]`, in quotes of the kind `contexts[i]`."""

    pieces: tuple[str, ...]
    marks: tuple[str, ...]
    contexts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, marks: Sequence[str] = (MARK,)) -> ShellTemplate:
        """`marks` are those that will be filled, such as `{name}`; none may begin another.

        Raises UserError for a mark where no quoting would be right.
        """
        scanner = _Scanner(text, tuple(marks))
        scanner.run()
        return cls(tuple(scanner.pieces), tuple(scanner.found), tuple(scanner.contexts))

    def fill(self, argument: str) -> Work:
        """The same argument in every place."""
        return self.fill_each(dict.fromkeys(self.marks, argument))

    def fill_each(self, values: Mapping[str, str]) -> Work:
        """Each mark's own value."""
        parts = [self.pieces[0]]
        for mark, context, piece in zip(self.marks, self.contexts, self.pieces[1:], strict=True):
            parts += (_quoted(values[mark], context), piece)
        return shell_work("".join(parts))


@dataclass(frozen=True, slots=True)
class ArgvTemplate:
    """A program and its arguments; no shell, so nothing needs quoting."""

    words: tuple[str, ...]

    def fill(self, argument: str) -> Work:
        return self.fill_each({MARK: argument})

    def fill_each(self, values: Mapping[str, str]) -> Work:
        """What a value contains is not looked at again, though it read like a mark."""
        any_mark = re.compile("|".join(map(re.escape, values)))
        return Work(argv=tuple(any_mark.sub(lambda found: values[found[0]], word) for word in self.words))


def shell_work(command: str) -> Work:
    """A line for the shell. A built-in job is meant only where the line is nothing but that job: `sleep 1`
    is ours, `sleep 1; ls` is the shell's."""
    words = command.split()
    if words[:1] == ["sleep"] and not (len(words) == 2 and _is_number(words[1])):
        return Work(argv=("/bin/sh", "-c", command))
    return Work(command=command)


def has_mark(words: Sequence[str]) -> bool:
    return any(MARK in word for word in words)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _quoted(argument: str, context: str) -> str:
    if context == _SINGLE:
        return argument.replace("'", "'\\''")
    if context == _DOUBLE:
        return "".join("\\" + char if char in '\\"$`' else char for char in argument)
    return shlex.quote(argument)


class _Scanner:
    """Follows the shell's quoting as far as marks need it. Where it could be mistaken, it refuses the mark.

    The stack holds what is open, innermost last: a quote, a backquote, "(" or "${".
    """

    def __init__(self, text: str, marks: tuple[str, ...]) -> None:
        self.pieces = [""]
        self.found: list[str] = []
        self.contexts: list[str] = []
        self._marks = marks
        self._text = text
        self._stack: list[str] = []
        self._unsafe = ""  # why no mark may follow

    def run(self) -> None:
        position = 0
        while position < len(self._text):
            mark = self._mark_at(position)
            if mark is not None:
                self._mark(mark, position)
                position += len(mark)
                continue
            taken = self._step(position)
            self.pieces[-1] += self._text[position : position + taken]
            position += taken

    @property
    def _context(self) -> str:
        return self._stack[-1] if self._stack else _PLAIN

    def _mark_at(self, position: int) -> str | None:
        return next((mark for mark in self._marks if self._text.startswith(mark, position)), None)

    def _mark(self, mark: str, position: int) -> None:
        before = self._text[position - 1 : position]
        if self._context != _SINGLE and before in ("\\", "$"):
            raise UserError(
                f"{before}{mark} would undo the quoting of {mark}; write them apart.", field="template"
            )
        reason = self._unsafe
        for opened, name in (("`", "backquotes"), ("${", "${...}")):
            if opened in self._stack:
                reason = f"inside {name}"
        if "(" in self._stack and re.search(r"\bcase\b", self._text):
            reason = "in parentheses together with case"
        if reason:
            raise UserError(
                f"{mark} cannot be quoted safely {reason}; use --argv with a script instead.",
                field="template",
            )
        self.found.append(mark)
        self.contexts.append(self._context if self._context in (_SINGLE, _DOUBLE) else _PLAIN)
        self.pieces.append("")

    def _step(self, position: int) -> int:
        """How many characters belong together here; keeps the stack."""
        char, context = self._text[position], self._context
        if context == _SINGLE:
            if char == _SINGLE:
                self._stack.pop()
            return 1
        if char == "\\":
            return 1 if self._mark_at(position + 1) else 2
        for opening, kind in (("$(", "("), ("${", "${")):
            if self._text.startswith(opening, position) and not self._mark_at(position + 1):
                self._stack.append(kind)
                return 2
        if char in (_DOUBLE, "`"):
            self._toggle(char)
            return 1
        if char == "}" and context == "${":
            self._stack.pop()
        elif context != _DOUBLE:
            return self._unquoted(position)
        return 1

    def _unquoted(self, position: int) -> int:
        char, text = self._text[position], self._text
        if char == "#" and (position == 0 or text[position - 1] in " \t\n;&|()"):
            end = text.find("\n", position)
            return (len(text) if end < 0 else end) - position
        if char == _SINGLE:
            if text[position - 1 : position] == "$":
                self._unsafe = "after $'...'"
            self._stack.append(_SINGLE)
        elif char == "(":
            self._stack.append("(")
        elif char == ")" and self._context == "(":
            self._stack.pop()
        elif re.match(r"<<-?\s*[^\s\d<=]", text[position:]):
            self._unsafe = "after <<"
        return 1

    def _toggle(self, kind: str) -> None:
        if self._context == kind:
            self._stack.pop()
        else:
            self._stack.append(kind)

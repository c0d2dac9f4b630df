"""`--sweep name=v1,v2`: one command for each combination of values, the last name varying fastest."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from taskmaster_desktop.backend.commands import MAX_COUNT, Work
from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.cli.template import ArgvTemplate, ShellTemplate

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Sweep:
    """The values of each name, in the order in which the names were given."""

    values: dict[str, tuple[str, ...]]

    @classmethod
    def parse(cls, entries: Sequence[str]) -> Sweep:
        """Raises UserError."""
        values: dict[str, tuple[str, ...]] = {}
        for entry in entries:
            name, given, listed = entry.partition("=")
            if not given or not _NAME.fullmatch(name):
                raise UserError(f"--sweep must be NAME=VALUE,VALUE..., not {entry!r}.", field="--sweep")
            if name in values:
                raise UserError(f"--sweep names {name} twice; give all its values at once.", field="--sweep")
            values[name] = tuple(listed.split(","))
            if "" in values[name]:
                raise UserError(f"--sweep has an empty value for {name}.", field="--sweep")
        sweep = cls(values)
        if len(sweep) > MAX_COUNT:
            raise UserError(
                f"--sweep makes {len(sweep):,} combinations; at most {MAX_COUNT:,} tasks go into one batch.",
                field="--sweep",
            )
        return sweep

    def __len__(self) -> int:
        return math.prod(map(len, self.values.values()))

    @property
    def marks(self) -> tuple[str, ...]:
        """What stands for the names in a command."""
        return tuple("{" + name + "}" for name in self.values)

    def combinations(self) -> Iterator[dict[str, str]]:
        """The value of each mark."""
        for chosen in itertools.product(*self.values.values()):
            yield dict(zip(self.marks, chosen, strict=True))

    def of_command(self, template: str) -> Iterator[Work]:
        """Each value arrives as one word, however the template quotes it. Raises UserError at once."""
        parsed = ShellTemplate.parse(template, self.marks)
        self._check_used(set(parsed.marks))
        return map(parsed.fill_each, self.combinations())

    def of_argv(self, words: Sequence[str]) -> Iterator[Work]:
        """Values are put into the words as they are. Raises UserError at once."""
        self._check_used({mark for mark in self.marks if any(mark in word for word in words)})
        return map(ArgvTemplate(tuple(words)).fill_each, self.combinations())

    def _check_used(self, used: set[str]) -> None:
        for mark in self.marks:
            if mark not in used:
                raise UserError(f"The command has no {mark} for --sweep {mark[1:-1]}=....", field="--sweep")

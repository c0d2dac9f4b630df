"""`{}` stays one word for a real shell, whatever the argument and wherever it stands."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskmaster_desktop.backend.commands import Work
from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.cli.template import ArgvTemplate, ShellTemplate, has_mark, shell_work

TEMPLATES = [
    ("printf %s {}", "{}"),
    ('printf %s "{}"', "{}"),
    ("printf %s '{}'", "{}"),
    ("printf %s pre{}post", "pre{}post"),
    ('printf %s "it\'s {}"', "it's {}"),
    ('printf %s "$(printf %s {})x"', "{}x"),
    ('printf %s "$(printf %s "{}")x"', "{}x"),
    ("( printf %s {} )", "{}"),
    ("# don't\nprintf %s {}", "{}"),
    ("printf %s \\'{}\\'", "'{}'"),
    ("printf %s $((1<<2)){}", "4{}"),
    ("printf %s ${HOME#$HOME}{}", "{}"),
    ("case {} in *) printf %s {};; esac", "{}"),
]
NASTY = [
    "$(touch pwned)",
    "a b",
    "it's",
    'say "x"',
    "`touch pwned`",
    "x\ny",
    "\\",
    "-n",
    "*",
    ";touch pwned",
    "#",
    "ü",
]


@pytest.mark.parametrize(("template", "expected"), TEMPLATES)
def test_nasty_arguments_arrive_as_they_are(template: str, expected: str, tmp_path: object) -> None:
    parsed = ShellTemplate.parse(template)
    for argument in NASTY:
        assert _shell(parsed.fill(argument), tmp_path) == expected.replace("{}", argument)


@settings(max_examples=60)
@given(
    argument=st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1),
    template=st.sampled_from([template for template, expected in TEMPLATES if expected == "{}"]),
)
def test_any_argument_arrives_as_it_is(argument: str, template: str) -> None:
    assert _shell(ShellTemplate.parse(template).fill(argument), ".") == argument


@pytest.mark.parametrize(
    "template",
    [
        "echo `cat {}`",
        "cat <<EOF\n{}\nEOF",
        "echo ${x:-{}}",
        "echo \\{}",
        "echo ${}",
        "echo $'a' {}",
        'echo "$(case {} in a) echo {};; esac)"',
    ],
)
def test_marks_that_no_quoting_could_save_are_refused(template: str) -> None:
    with pytest.raises(UserError, match=r"\{\}"):
        ShellTemplate.parse(template)


def test_argv_takes_the_argument_verbatim() -> None:
    template = ArgvTemplate(("tool", "--in={}", "{}", "plain"))
    assert template.fill("a $(b)").argv == ("tool", "--in=a $(b)", "a $(b)", "plain")
    assert has_mark(template.words)
    assert not has_mark(("tool", "{ }"))


@pytest.mark.parametrize("command", ["sleep 1; ls", "sleep 1 2", "sleep $N", " sleep  1 && true"])
def test_a_line_for_the_shell_is_not_taken_for_the_built_in_sleep(command: str) -> None:
    assert shell_work(command) == Work(argv=("/bin/sh", "-c", command))


@pytest.mark.parametrize("command", ["sleep 1.5", "noop", "demo-job --ms 5", "ls; sleep 1", "sleeper x"])
def test_other_lines_stay_as_they_are(command: str) -> None:
    assert shell_work(command) == Work(command=command)


def _shell(work: Work, folder: object) -> str:
    command = ["/bin/sh", "-c", work.command] if work.command is not None else list(work.argv or ())
    done = subprocess.run(command, capture_output=True, cwd=str(folder), timeout=10, check=True)
    return done.stdout.decode()

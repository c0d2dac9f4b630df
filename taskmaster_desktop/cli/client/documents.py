"""`taskmaster token` and `taskmaster openapi`: what programs of others need."""

from __future__ import annotations

import json
import os

from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.cli import exit_codes
from taskmaster_desktop.cli.client.instance import TOKEN_FILE, Client
from taskmaster_desktop.cli.client.talking import Remote
from taskmaster_desktop.cli.output import Output


def print_token(remote: Remote) -> int:
    """It is kept from one run of the instance to the next, so none needs to run."""
    output = Output(as_json=remote.json)
    file = remote.folder() / TOKEN_FILE
    try:
        about = file.stat()
        text = file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise EnvironmentProblem(
            f"There is no token in {file.parent}.", fix="It is made when taskmaster serve first answers HTTP."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no token"
        raise EnvironmentProblem(
            f"The token in {file.parent} cannot be read ({why}).",
            fix="Ask as the user who runs the instance.",
        ) from error
    if os.name == "posix" and about.st_mode & 0o077:
        output.problem(f"{file} was open to others; the next start of the instance makes another token.")
    output.result(text)
    output.json({"token": text, "file": str(file)})
    return exit_codes.OK


def print_openapi(client: Client, output: Output) -> int:
    """For people with line breaks, under --json on one line."""
    document = client.get("/openapi.json")
    output.result(json.dumps(document, indent=2, ensure_ascii=False))
    output.json(document)
    return exit_codes.OK

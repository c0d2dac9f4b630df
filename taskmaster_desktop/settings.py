"""The settings of one run: flags > TASKMASTER_DESKTOP_* > config.toml > defaults, checked and frozen.

Read once at start by the composition root and handed on as values; nobody reads the environment later.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ByteSize, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.paths import default_config_file, default_data_dir

ENV_PREFIX = "TASKMASTER_DESKTOP_"
OLD_CLIENT_ORIGIN = "http://localhost:5173"
"""Where the development server of the old web client proxies from."""
DEFAULT_BASE = "python:3.11-slim-bookworm"
MIB = 2**20
TIB = 2**40
_SHOWN_VALUE_LIMIT = 80


def _no_bool(value: object) -> object:
    # Python counts True as 1, so `workers = true` in the file would otherwise start one worker.
    if isinstance(value, bool):
        raise ValueError("not a number")
    return value


def _lowered(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Whole = Annotated[int, BeforeValidator(_no_bool)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lowered)]


class Settings(BaseSettings):
    """Every setting; each description completes the sentence "... must be ..." of an error."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    data_dir: Path = Field(default_factory=default_data_dir, description="the name of a folder")
    runtime: Literal["auto", "docker", "process"] = Field(
        default="auto", description="one of auto, docker and process"
    )
    workers: Whole = Field(default=3, ge=0, le=50, description="a whole number from 0 to 50")
    slots: Whole = Field(default=1, ge=1, le=64, description="a whole number from 1 to 64")
    self_heal: bool = Field(default=True, description="true or false")
    docker_host: str | None = Field(
        default=None, min_length=1, description="an address such as unix:///var/run/docker.sock"
    )
    image: str | None = Field(default=None, min_length=1, description="the name of an image")
    worker_base: str = Field(default=DEFAULT_BASE, min_length=1, description="the name of an image")
    worker_wheels: Path | None = Field(default=None, description="a folder of wheels")
    cpus: Annotated[float, BeforeValidator(_no_bool)] = Field(
        default=1.0, ge=0.1, le=256, description="a number of processors from 0.1 to 256"
    )
    memory: Annotated[ByteSize, BeforeValidator(_no_bool)] = Field(
        default=ByteSize(512 * MIB),
        ge=64 * MIB,
        le=TIB,
        description="a number of bytes from 64 MiB to 1 TiB, such as 512MiB or 2GiB",
    )
    pids: Whole = Field(default=256, ge=16, le=65536, description="a whole number from 16 to 65536")
    network: bool = Field(default=True, description="true or false")
    read_only: bool = Field(default=True, description="true or false")
    mounts: tuple[str, ...] = Field(
        default=(), max_length=32, description="a list of folders, each with :ro or :rw if need be"
    )
    mount_roots: tuple[str, ...] = Field(default=(), description="a list of folders")
    worker_env: dict[str, str] = Field(default={}, description="names with their texts")
    api: bool = Field(default=True, description="true or false")
    api_host: str = Field(default="127.0.0.1", min_length=1, description="an address of this machine")
    api_port: Whole = Field(
        default=8081, ge=0, le=65535, description="a whole number from 0 (a free port) to 65535"
    )
    api_origins: tuple[str, ...] = Field(
        default=(OLD_CLIENT_ORIGIN,), description="a list of origins such as http://localhost:5173"
    )
    api_tls_cert: Path | None = Field(default=None, description="the name of a PEM file")
    api_tls_key: Path | None = Field(default=None, description="the name of a PEM file")
    retention_days: Whole = Field(
        default=30, ge=1, le=3650, description="a whole number of days from 1 to 3650"
    )
    retention_bytes: Annotated[ByteSize, BeforeValidator(_no_bool)] = Field(
        default=ByteSize(2048 * MIB),
        ge=MIB,
        le=1024 * TIB,
        description="a number of bytes from 1 MiB to 1 PiB, such as 500MB or 2GiB",
    )
    log_level: LogLevel = Field(default="info", description="one of debug, info, warning and error")
    log_format: Literal["text", "json"] = Field(default="text", description="text or json")
    # None: the SQLite file in `data_dir`. Secret, because an address may carry a password.
    database_url: SecretStr | None = Field(default=None, description="an address such as dialect://host/name")

    @field_validator("data_dir", mode="before")
    @classmethod
    def _name_a_folder(cls, value: object) -> object:
        if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
            raise ValueError("not the name of a folder")
        return value

    @field_validator("data_dir")
    @classmethod
    def _make_absolute(cls, value: Path) -> Path:
        absolute = Path(os.path.abspath(value.expanduser()))  # noqa: PTH100 - resolve() would follow links
        if absolute.exists() and not absolute.is_dir():
            raise ValueError("something else than a folder")
        return absolute

    @field_validator("database_url")
    @classmethod
    def _have_a_scheme(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().partition("://")[2]:
            raise ValueError("not an address")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is handed in: `load_settings` reads the sources itself, to know where a value is from."""
        return (init_settings,)


def load_settings(flags: Mapping[str, object], *, config_file: Path | None = None) -> Settings:
    """Reads and checks all sources.

    Args:
        flags: by field name; None means that the flag was not given.
        config_file: the file to read, which must exist; None reads the default one if it is there.

    Raises:
        UserError: a value is wrong, the file cannot be read or a name in it is unknown; one sentence with
            the field, what is allowed and where the value came from.
    """
    file = config_file or default_config_file()
    given = {name: value for name, value in flags.items() if value is not None}
    environment = EnvSettingsSource(Settings)()
    from_file = _read_file(file, required=config_file is not None)
    merged: dict[str, Any] = {**from_file, **environment, **given}
    try:
        return Settings(**merged)
    except ValidationError as err:
        name = str(err.errors(include_url=False)[0]["loc"][0])
        raise UserError(
            _sentence(name, merged[name], _origin(name, given, environment, file)), field=name
        ) from err


def _read_file(file: Path, *, required: bool) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        if required:
            raise UserError(f"There is no settings file {file}.", field="config") from err
        return {}
    except (OSError, ValueError) as err:
        reason = err.strerror if isinstance(err, OSError) else err
        raise UserError(f"The settings file {file} cannot be read: {reason}.", field="config") from err
    for name in values.keys() - Settings.model_fields.keys():
        near = difflib.get_close_matches(name, Settings.model_fields, n=1)
        hint = f", did you mean {near[0]}?" if near else "."
        raise UserError(f"{file} has an unknown setting {name}{hint}", field=name)
    return values


def _origin(name: str, flags: Mapping[str, object], environment: Mapping[str, object], file: Path) -> str:
    if name in flags:
        return f"the flag --{name.replace('_', '-')}"
    if name in environment:
        return f"the environment variable {ENV_PREFIX}{name.upper()}"
    return f"the file {file}"


def _sentence(name: str, value: object, origin: str) -> str:
    allowed = Settings.model_fields[name].description
    if name == "database_url":
        return f"{name} must be {allowed}, but {origin} says something else."
    shown = repr(value) if isinstance(value, str) else str(value)
    if len(shown) > _SHOWN_VALUE_LIMIT:
        shown = shown[:_SHOWN_VALUE_LIMIT] + "..."
    return f"{name} must be {allowed}, but {origin} says {shown}."

"""How the HTTP face is reached and by whom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """
    Attributes:
        port: 0 takes a free one.
        run_dir: where the address (`api.json`) and the token (`token`, 0600) are kept for other programs.
        origins: pages that may call beside our own.
        tls_cert, tls_key: PEM files; needed to listen beyond the loopback.
        instance: id of this instance.
        trust_same_user: a loopback caller of the same user needs no token. Off where containers' traffic
            reaches the loopback as if it were this user's.
    """

    run_dir: Path
    instance: str
    host: str = "127.0.0.1"
    port: int = 8081
    origins: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trust_same_user: bool = True

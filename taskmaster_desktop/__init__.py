"""TaskMaster Desktop: runs commands over a fleet of workers on this machine and loses none of them."""

from __future__ import annotations

__version__ = "0.1.0"

"""`taskmaster map`: one command for each argument, on an engine that lives as long as the command."""

from taskmaster_desktop.cli.map.request import MapRequest, run_map

__all__ = ["MapRequest", "run_map"]

"""`taskmaster map`: one command for each argument, on an engine that lives as long as the command."""

"""Commands that talk to a running instance over its HTTP API."""

"""All tests; `make test` runs what this machine can run."""

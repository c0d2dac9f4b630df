"""Reproducible measurements; `python -m benchmarks` runs them and merges build/bench.json."""

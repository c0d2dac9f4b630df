"""The embedded runtime: worker agents as local processes."""

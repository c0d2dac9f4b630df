"""Decisions, pure: a stimulus goes in, instructions come out. No clock, no I/O, no logging."""

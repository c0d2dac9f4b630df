"""The seven-step demo: a scenario on a real engine, what it measured, and whether the promises held."""

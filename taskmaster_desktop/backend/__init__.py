"""The engine and everything it stands on; runs without Qt."""

"""The API of this program, version 1."""

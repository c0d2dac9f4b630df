"""The HTTP face: one ASGI application on the engine's loop, thin over `BackendApi`."""

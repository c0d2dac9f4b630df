"""The door for workers: gRPC over mutual TLS. Runs on the engine's loop, the only one that touches grpc.aio."""

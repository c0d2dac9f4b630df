"""Generated from proto/taskmaster/v1/worker.proto by `make proto`; do not edit."""

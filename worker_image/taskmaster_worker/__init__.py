"""The worker agent of TaskMaster Desktop: takes tasks over gRPC, runs them, reports what happened.

It stands alone: the standard library, grpc and its own generated protocol code. Start it with
`python -m taskmaster_worker` and hand it its bundle (see `secret`) on standard input.
"""

__version__ = "0.1.0"

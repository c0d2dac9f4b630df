"""Knocks at the door for workers as somebody who may not come in. Runs anywhere where the agent can run.

Reads from the environment, as JSON in STRANGER, a list of tries, each with `name`, `endpoint`, `server_name`, `ca`,
`cert`, `key` (PEM; empty for none) and `worker`. Writes one line for each: its name and what came of it.
"""

import json
import os
import sys

import grpc

from taskmaster_worker._pb import worker_pb2 as pb

LIMIT_S = 5


def knock(one: dict[str, str]) -> str:
    if one["ca"]:
        credentials = grpc.ssl_channel_credentials(
            one["ca"].encode(), one["key"].encode() or None, one["cert"].encode() or None
        )
        options = [("grpc.ssl_target_name_override", one["server_name"])]
        channel = grpc.secure_channel(one["endpoint"], credentials, options)
    else:
        channel = grpc.insecure_channel(one["endpoint"])
    hello = pb.Hello(
        protocol_major=1, worker_id=one["worker"], boot_id="boot-1", slots=1, hostname="x", pid=1
    )
    with channel:
        call = channel.stream_stream(
            "/taskmaster.v1.WorkerService/Connect",
            request_serializer=pb.WorkerMessage.SerializeToString,
            response_deserializer=pb.EngineMessage.FromString,
        )(iter([pb.WorkerMessage(hello=hello)]), timeout=LIMIT_S)
        try:
            return answer(next(call))
        except StopIteration:
            return "closed"
        except grpc.RpcError as error:
            return str(error.code().name)


def answer(message: pb.EngineMessage) -> str:
    return "welcome" if message.HasField("welcome") else "refused"


if __name__ == "__main__":
    for one in json.loads(os.environ["STRANGER"]):
        sys.stdout.write(f"{one['name']}: {knock(one)}\n")

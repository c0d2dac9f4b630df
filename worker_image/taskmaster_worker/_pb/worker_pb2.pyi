# Generated from proto/taskmaster/v1/worker.proto by `make proto`; do not edit.
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AttemptPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTEMPT_PHASE_UNSPECIFIED: _ClassVar[AttemptPhase]
    ATTEMPT_PHASE_WAITING: _ClassVar[AttemptPhase]
    ATTEMPT_PHASE_STARTED: _ClassVar[AttemptPhase]
    ATTEMPT_PHASE_FINISHED: _ClassVar[AttemptPhase]

class OutputStream(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTPUT_STREAM_UNSPECIFIED: _ClassVar[OutputStream]
    OUTPUT_STREAM_STDOUT: _ClassVar[OutputStream]
    OUTPUT_STREAM_STDERR: _ClassVar[OutputStream]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_COMPLETED: _ClassVar[Outcome]
    OUTCOME_FAILED: _ClassVar[Outcome]
    OUTCOME_TIMEOUT: _ClassVar[Outcome]
    OUTCOME_CANCELLED: _ClassVar[Outcome]
    OUTCOME_OOM: _ClassVar[Outcome]

class RecallResult(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECALL_RESULT_UNSPECIFIED: _ClassVar[RecallResult]
    RECALL_RESULT_RECALLED: _ClassVar[RecallResult]
    RECALL_RESULT_ALREADY_STARTED: _ClassVar[RecallResult]
    RECALL_RESULT_UNKNOWN: _ClassVar[RecallResult]
ATTEMPT_PHASE_UNSPECIFIED: AttemptPhase
ATTEMPT_PHASE_WAITING: AttemptPhase
ATTEMPT_PHASE_STARTED: AttemptPhase
ATTEMPT_PHASE_FINISHED: AttemptPhase
OUTPUT_STREAM_UNSPECIFIED: OutputStream
OUTPUT_STREAM_STDOUT: OutputStream
OUTPUT_STREAM_STDERR: OutputStream
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_COMPLETED: Outcome
OUTCOME_FAILED: Outcome
OUTCOME_TIMEOUT: Outcome
OUTCOME_CANCELLED: Outcome
OUTCOME_OOM: Outcome
RECALL_RESULT_UNSPECIFIED: RecallResult
RECALL_RESULT_RECALLED: RecallResult
RECALL_RESULT_ALREADY_STARTED: RecallResult
RECALL_RESULT_UNKNOWN: RecallResult

class WorkerMessage(_message.Message):
    __slots__ = ("session", "hello", "started", "progress", "output", "finished", "recall_answers", "heartbeat", "draining")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    RECALL_ANSWERS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    session: int
    hello: Hello
    started: _containers.RepeatedCompositeFieldContainer[Started]
    progress: _containers.RepeatedCompositeFieldContainer[Progress]
    output: _containers.RepeatedCompositeFieldContainer[Output]
    finished: _containers.RepeatedCompositeFieldContainer[Finished]
    recall_answers: _containers.RepeatedCompositeFieldContainer[RecallAnswer]
    heartbeat: Heartbeat
    draining: bool
    def __init__(self, session: _Optional[int] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., started: _Optional[_Iterable[_Union[Started, _Mapping]]] = ..., progress: _Optional[_Iterable[_Union[Progress, _Mapping]]] = ..., output: _Optional[_Iterable[_Union[Output, _Mapping]]] = ..., finished: _Optional[_Iterable[_Union[Finished, _Mapping]]] = ..., recall_answers: _Optional[_Iterable[_Union[RecallAnswer, _Mapping]]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., draining: _Optional[bool] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol_major", "protocol_minor", "worker_id", "boot_id", "agent_version", "slots", "hostname", "pid", "open_attempts", "endpoint", "failed_ways")
    PROTOCOL_MAJOR_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MINOR_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    OPEN_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    FAILED_WAYS_FIELD_NUMBER: _ClassVar[int]
    protocol_major: int
    protocol_minor: int
    worker_id: str
    boot_id: str
    agent_version: str
    slots: int
    hostname: str
    pid: int
    open_attempts: _containers.RepeatedCompositeFieldContainer[OpenAttempt]
    endpoint: str
    failed_ways: _containers.RepeatedCompositeFieldContainer[FailedWay]
    def __init__(self, protocol_major: _Optional[int] = ..., protocol_minor: _Optional[int] = ..., worker_id: _Optional[str] = ..., boot_id: _Optional[str] = ..., agent_version: _Optional[str] = ..., slots: _Optional[int] = ..., hostname: _Optional[str] = ..., pid: _Optional[int] = ..., open_attempts: _Optional[_Iterable[_Union[OpenAttempt, _Mapping]]] = ..., endpoint: _Optional[str] = ..., failed_ways: _Optional[_Iterable[_Union[FailedWay, _Mapping]]] = ...) -> None: ...

class FailedWay(_message.Message):
    __slots__ = ("endpoint", "reason")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    reason: str
    def __init__(self, endpoint: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class OpenAttempt(_message.Message):
    __slots__ = ("task", "attempt", "fence", "phase", "started_at_us")
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_US_FIELD_NUMBER: _ClassVar[int]
    task: int
    attempt: int
    fence: int
    phase: AttemptPhase
    started_at_us: int
    def __init__(self, task: _Optional[int] = ..., attempt: _Optional[int] = ..., fence: _Optional[int] = ..., phase: _Optional[_Union[AttemptPhase, str]] = ..., started_at_us: _Optional[int] = ...) -> None: ...

class Started(_message.Message):
    __slots__ = ("task", "attempt", "fence", "at_us")
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    AT_US_FIELD_NUMBER: _ClassVar[int]
    task: int
    attempt: int
    fence: int
    at_us: int
    def __init__(self, task: _Optional[int] = ..., attempt: _Optional[int] = ..., fence: _Optional[int] = ..., at_us: _Optional[int] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("task", "attempt", "fence", "percent", "text")
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    task: int
    attempt: int
    fence: int
    percent: float
    text: str
    def __init__(self, task: _Optional[int] = ..., attempt: _Optional[int] = ..., fence: _Optional[int] = ..., percent: _Optional[float] = ..., text: _Optional[str] = ...) -> None: ...

class Output(_message.Message):
    __slots__ = ("task", "attempt", "fence", "stream", "offset", "data")
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    task: int
    attempt: int
    fence: int
    stream: OutputStream
    offset: int
    data: bytes
    def __init__(self, task: _Optional[int] = ..., attempt: _Optional[int] = ..., fence: _Optional[int] = ..., stream: _Optional[_Union[OutputStream, str]] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class Finished(_message.Message):
    __slots__ = ("task", "attempt", "fence", "outcome", "exit_code", "reason", "at_us", "duration_us", "output_bytes", "never_started")
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    AT_US_FIELD_NUMBER: _ClassVar[int]
    DURATION_US_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    NEVER_STARTED_FIELD_NUMBER: _ClassVar[int]
    task: int
    attempt: int
    fence: int
    outcome: Outcome
    exit_code: int
    reason: str
    at_us: int
    duration_us: int
    output_bytes: int
    never_started: bool
    def __init__(self, task: _Optional[int] = ..., attempt: _Optional[int] = ..., fence: _Optional[int] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., exit_code: _Optional[int] = ..., reason: _Optional[str] = ..., at_us: _Optional[int] = ..., duration_us: _Optional[int] = ..., output_bytes: _Optional[int] = ..., never_started: _Optional[bool] = ...) -> None: ...

class RecallAnswer(_message.Message):
    __slots__ = ("task", "attempt", "fence", "result")
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    task: int
    attempt: int
    fence: int
    result: RecallResult
    def __init__(self, task: _Optional[int] = ..., attempt: _Optional[int] = ..., fence: _Optional[int] = ..., result: _Optional[_Union[RecallResult, str]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("sequence", "cpu_us", "memory_bytes", "running", "waiting", "oom_kills")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CPU_US_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    OOM_KILLS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    cpu_us: int
    memory_bytes: int
    running: int
    waiting: int
    oom_kills: int
    def __init__(self, sequence: _Optional[int] = ..., cpu_us: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., running: _Optional[int] = ..., waiting: _Optional[int] = ..., oom_kills: _Optional[int] = ...) -> None: ...

class EngineMessage(_message.Message):
    __slots__ = ("session", "welcome", "refused", "assign", "recall", "cancel", "result_acks", "output_acks", "drain", "heartbeat_ack")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    ASSIGN_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    RESULT_ACKS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_ACKS_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_ACK_FIELD_NUMBER: _ClassVar[int]
    session: int
    welcome: Welcome
    refused: Refused
    assign: _containers.RepeatedCompositeFieldContainer[Assign]
    recall: _containers.RepeatedCompositeFieldContainer[Recall]
    cancel: _containers.RepeatedCompositeFieldContainer[Cancel]
    result_acks: _containers.RepeatedCompositeFieldContainer[ResultAck]
    output_acks: _containers.RepeatedCompositeFieldContainer[OutputAck]
    drain: bool
    heartbeat_ack: int
    def __init__(self, session: _Optional[int] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ..., assign: _Optional[_Iterable[_Union[Assign, _Mapping]]] = ..., recall: _Optional[_Iterable[_Union[Recall, _Mapping]]] = ..., cancel: _Optional[_Iterable[_Union[Cancel, _Mapping]]] = ..., result_acks: _Optional[_Iterable[_Union[ResultAck, _Mapping]]] = ..., output_acks: _Optional[_Iterable[_Union[OutputAck, _Mapping]]] = ..., drain: _Optional[bool] = ..., heartbeat_ack: _Optional[int] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("protocol_major", "protocol_minor", "instance", "heartbeat_interval_ms", "self_stop_ms")
    PROTOCOL_MAJOR_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MINOR_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    SELF_STOP_MS_FIELD_NUMBER: _ClassVar[int]
    protocol_major: int
    protocol_minor: int
    instance: str
    heartbeat_interval_ms: int
    self_stop_ms: int
    def __init__(self, protocol_major: _Optional[int] = ..., protocol_minor: _Optional[int] = ..., instance: _Optional[str] = ..., heartbeat_interval_ms: _Optional[int] = ..., self_stop_ms: _Optional[int] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("reason", "permanent")
    REASON_FIELD_NUMBER: _ClassVar[int]
    PERMANENT_FIELD_NUMBER: _ClassVar[int]
    reason: str
    permanent: bool
    def __init__(self, reason: _Optional[str] = ..., permanent: _Optional[bool] = ...) -> None: ...

class Argv(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, items: _Optional[_Iterable[str]] = ...) -> None: ...

class Assign(_message.Message):
    __slots__ = ("task", "attempt", "fence", "task_id", "command", "argv", "cwd", "env", "timeout_ms", "lossless_output", "kill_grace_ms")
    class EnvEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ARGV_FIELD_NUMBER: _ClassVar[int]
    CWD_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    LOSSLESS_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    KILL_GRACE_MS_FIELD_NUMBER: _ClassVar[int]
    task: int
    attempt: int
    fence: int
    task_id: bytes
    command: str
    argv: Argv
    cwd: str
    env: _containers.ScalarMap[str, str]
    timeout_ms: int
    lossless_output: bool
    kill_grace_ms: int
    def __init__(self, task: _Optional[int] = ..., attempt: _Optional[int] = ..., fence: _Optional[int] = ..., task_id: _Optional[bytes] = ..., command: _Optional[str] = ..., argv: _Optional[_Union[Argv, _Mapping]] = ..., cwd: _Optional[str] = ..., env: _Optional[_Mapping[str, str]] = ..., timeout_ms: _Optional[int] = ..., lossless_output: _Optional[bool] = ..., kill_grace_ms: _Optional[int] = ...) -> None: ...

class Recall(_message.Message):
    __slots__ = ("task", "attempt", "fence")
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    task: int
    attempt: int
    fence: int
    def __init__(self, task: _Optional[int] = ..., attempt: _Optional[int] = ..., fence: _Optional[int] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("task", "attempt", "fence")
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    task: int
    attempt: int
    fence: int
    def __init__(self, task: _Optional[int] = ..., attempt: _Optional[int] = ..., fence: _Optional[int] = ...) -> None: ...

class ResultAck(_message.Message):
    __slots__ = ("fence",)
    FENCE_FIELD_NUMBER: _ClassVar[int]
    fence: int
    def __init__(self, fence: _Optional[int] = ...) -> None: ...

class OutputAck(_message.Message):
    __slots__ = ("fence", "offset")
    FENCE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    fence: int
    offset: int
    def __init__(self, fence: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

"""Whether a gRPC server answers.

Belongs here: asking. Does not belong here: what follows from silence.
"""

from __future__ import annotations

from typing import Any, Final

_SILENT: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"})


def answers_grpc(target: str, *, timeout_s: float) -> bool:
    """Return whether a server answers gRPC's standard health check; that it does not know the check, or asks who is there, is an answer.

    A connection alone says nothing: the system accepts it for a process that hangs or was stopped by a signal.

    Args:
        target: ``host:port``, or ``unix:PATH``.
        timeout_s: How long to wait, seconds.
    """
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    # a channel of its own each time: a kept one waits longer and longer before it tries to connect again
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
    with grpc.insecure_channel(target, options=options) as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)  # its methods are made when it is
            stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.RpcError as error:
            return error.code().name not in _SILENT  # type: ignore[attr-defined]  # an error of a call is a call
    return True

"""A process beside this one that has no threads and forks a child for each piece of work.

Belongs here: that process, asking it, and its end. Does not belong here: what the work is. Run as
``python -m lab_assets.compute.worker FD``.

A process with threads, such as a run of Dagster, must not fork: a lock that another thread holds stays locked in the child for ever. The
worker is started anew, imports what its work needs, has one thread, and forks. It ends, with all it forked, when the process that started
it is gone.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe, wait
from typing import TYPE_CHECKING, Any, NoReturn

from lab_assets.compute.parts import run_part
from lab_assets.compute.protocol import BatchFunction, WorkError

if TYPE_CHECKING:
    import pyarrow as pa

Preparation = Callable[[], None]
"""Function of a module, called once in the worker before its first work: imports what the children are to have. It starts no threads."""


def _nothing() -> None:
    """Prepare nothing."""


class Worker:
    """The process beside this one, started when it is first needed and again when it has died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._preparation: Preparation = _nothing
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None

    def start(self, preparation: Preparation) -> None:
        """Start the process if none runs; it gets ready while this one goes on.

        Args:
            preparation: Called there before the first work, also when a dead worker is replaced.
        """
        with self._lock:
            self._preparation = preparation
            self._started()

    def run(self, function: BatchFunction, payload: bytes, schema: pa.Schema) -> bytes:
        """Run a function over one part in a child of the worker.

        Returns:
            What it yielded, as an Arrow stream.

        Raises:
            WorkError: the function failed, or its process ended.
        """
        with self._lock:
            connection = self._started()
            try:
                connection.send_bytes(pickle.dumps((function, payload, schema)))
                succeeded, answer = pickle.loads(connection.recv_bytes())  # noqa: S301 - written by our own worker
            except (EOFError, OSError) as error:
                raise WorkError(f"the process that works beside this one ended: {self._how_it_ended()}") from error
        if not succeeded:
            raise WorkError(answer)
        return answer

    def stop(self) -> None:
        """End the process and what it forked."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            if self._process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            self._connection = self._process = None

    def _started(self) -> Connection[Any, Any]:
        if self._connection is None or self._process is None or self._process.poll() is not None:
            self._connection, theirs = Pipe()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", __name__, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path), "OPENBLAS_NUM_THREADS": "1"},
                )
            self._connection.send_bytes(pickle.dumps(self._preparation))
        return self._connection

    def _how_it_ended(self) -> str:
        return "not started" if self._process is None else _ending(self._process.wait(timeout=10))


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"code {code}"


_OWN: dict[int, Worker] = {}


def worker_of_this_process() -> Worker:
    """Return the worker of this process; a process that was forked from one with a worker has its own."""
    if (worker := _OWN.get(os.getpid())) is None:
        _OWN.clear()
        worker = _OWN[os.getpid()] = Worker()
        atexit.register(_stop_own, os.getpid())
    return worker


def _stop_own(process: int) -> None:
    """Stop the worker at the end of the process that started it; a fork of that process ends without."""
    if process == os.getpid() and (worker := _OWN.get(process)) is not None:
        worker.stop()


def main() -> None:
    """Get ready, then fork a child for each request until the other end is closed."""
    connection: Connection[Any, Any] = Connection(int(sys.argv[1]))
    with contextlib.suppress(EOFError, OSError):
        pickle.loads(connection.recv_bytes())()  # noqa: S301 - written by the process that started us
        while True:
            connection.send_bytes(_done_by_a_child(connection, connection.recv_bytes()))


def _done_by_a_child(connection: Connection[Any, Any], request: bytes) -> bytes:
    """Fork a child for a request and return its answer; end with it when the process that asked is gone meanwhile."""
    ours, theirs = Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        ours.close()
        connection.close()
        _answer(theirs, request)
    theirs.close()
    try:
        if connection in wait([ours, connection]):  # nothing is asked before the answer came: the other end was closed
            os.killpg(0, signal.SIGKILL)
        return ours.recv_bytes()
    except EOFError:
        _, status = os.waitpid(child, 0)
        return pickle.dumps((False, f"the process at work ended by itself: {_ending(os.waitstatus_to_exitcode(status))}"))
    finally:
        ours.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)


def _answer(writer: Connection[Any, Any], request: bytes) -> NoReturn:
    """Do the work and end without running anything of the worker's."""
    code = 1
    try:
        writer.send_bytes(_worked(request))
        code = 0
    finally:
        os._exit(code)


def _worked(request: bytes) -> bytes:
    import pyarrow as pa

    try:
        function, payload, schema = pickle.loads(request)  # noqa: S301 - written by the process that started us
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, schema) as writer:
            for batch in run_part(function, payload, schema):
                writer.write(batch)
        return pickle.dumps((True, sink.getvalue().to_pybytes()))
    except Exception as error:  # noqa: BLE001 - raised where the work was asked for
        return pickle.dumps((False, f"{type(error).__name__}: {error}"[:4000]))


if __name__ == "__main__":
    main()

"""A process beside this one that has no threads and forks a child for each piece of work.

Belongs here: that process, asking it, and its end. Does not belong here: what the work is. Run as
``python -m lab_assets.compute.worker FD``.

A process with threads, such as a run of Dagster, must not fork: a lock that another thread holds stays locked in the child for ever. The
worker has one thread, imports what its work needs, and forks. A process that begins it before its own first thread forks it in
milliseconds; a later one starts an interpreter, a second of work beside its own. The worker ends, with all it forked, when the process
that started it is gone.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from lab_assets.compute.parts import run_part
from lab_assets.compute.protocol import BatchFunction, WorkError

if TYPE_CHECKING:
    import pyarrow as pa

Preparation = Callable[[], None]
"""Function of a module, called once in the worker before its first work: imports what the children are to have. It starts no threads."""


_PREPARE: Final = b"prepare "
"""Begins a message that the worker itself is to follow; others are for its children."""


class Worker:
    """The process beside this one, started when it is first needed and again when it has died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._preparation: Preparation | None = None
        self._process: subprocess.Popen[bytes] | _Forked | None = None
        self._connection: Connection[Any, Any] | None = None

    def start(self, preparation: Preparation | None = None) -> None:
        """Start the process if none runs; it gets ready while this one goes on.

        Args:
            preparation: Called there before the first work, also when a dead worker is replaced.
        """
        with self._lock:
            connection = self._started()
            if preparation is not None and preparation is not self._preparation:
                self._preparation = preparation
                with contextlib.suppress(OSError):  # died just now; whoever needs it next replaces it
                    connection.send_bytes(_PREPARE + pickle.dumps(preparation))

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
                self._process = _forked(theirs) if _has_one_thread() else _spawned(theirs)
            if self._preparation is not None:
                self._connection.send_bytes(_PREPARE + pickle.dumps(self._preparation))
        return self._connection

    def _how_it_ended(self) -> str:
        return "not started" if self._process is None else _ending(self._process.wait(10))


class _Forked:
    """A forked child, with the little of ``Popen`` that is needed of it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return how it ended, or ``None`` while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return how it ended.

        Raises:
            TimeoutError: it did not end in time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} did not end within {timeout} s")
            time.sleep(0.01)
        return code


def threads_of(pid: int) -> int:
    """Return how many threads of a process a fork would lose, those of libraries counted as well.

    The one by which Arrow's allocator cleans up is not counted: jemalloc stops it before a fork and starts it again behind.

    Raises:
        OSError: there is no such process, or no ``/proc``.
    """
    names = [path.read_text().strip() for path in Path(f"/proc/{pid}/task").glob("*/comm")]
    if not names:
        raise ProcessLookupError(f"there is no process {pid}, or no /proc")
    return len(names) - names.count("jemalloc_bg_thd")


def _has_one_thread() -> bool:
    """Return whether a fork of this process would be whole; where nobody can say, it would not."""
    try:
        return threads_of(os.getpid()) == 1
    except OSError:
        return False


def _forked(theirs: Connection[Any, Any]) -> _Forked:
    """Begin as a fork of this process, which has what is imported already; it takes along no file of it."""
    pid = os.fork()
    if pid:
        return _Forked(pid)
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        kept = os.dup2(theirs.fileno(), 3) if theirs.fileno() != 3 else 3
        os.closerange(4, os.sysconf("SC_OPEN_MAX"))
        _serve(Connection(kept))
    finally:
        os._exit(0)


def _spawned(theirs: Connection[Any, Any]) -> subprocess.Popen[bytes]:
    """Begin as an interpreter of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", __name__, str(theirs.fileno())],
        stdin=subprocess.DEVNULL,
        pass_fds=(theirs.fileno(),),
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path), "OPENBLAS_NUM_THREADS": "1"},
    )


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
    """Serve the process that started this one."""
    _serve(Connection(int(sys.argv[1])))


def _serve(connection: Connection[Any, Any]) -> None:
    """Fork a child for each request until the other end is closed."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            request = connection.recv_bytes()
            if request.startswith(_PREPARE):
                pickle.loads(request.removeprefix(_PREPARE))()  # noqa: S301 - written by the process that started us
                gc.freeze()  # children do not look through what is imported for garbage, nor copy its pages by doing so
            else:  # what it holds is unpacked by the child alone
                connection.send_bytes(_done_by_a_child(connection, request))


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

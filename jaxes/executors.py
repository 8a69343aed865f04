"""Executors for objectives that may hang, crash, or never come back: what those of `concurrent.futures` cannot be told.

They have its interface, `submit(function, *arguments) -> Future`, and can besides say when an evaluation began, and give one
up: a thread that hangs is left behind and another takes its place; a process that hangs is killed. A process that crashes
fails the one evaluation that it was busy with.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import pickle
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any


class Crash(Exception):
    """The process of an evaluation ended in the middle of it."""


class NotStarted(RuntimeError):
    """A process could not be made ready for its first evaluation."""

    def __init__(self, error: BaseException):
        super().__init__(
            f"a process for evaluations did not start: {error_in_words(error)}. It imports the module of the objective and the "
            'main module; a script needs `if __name__ == "__main__":` around what it does; a notebook has nothing to import.'
        )


class Remote(Exception):
    """What an evaluation raised in another process; its notes hold the traceback."""


class Evaluation(Future):
    """A future that knows more."""

    began: float | None = None  # by `time.monotonic`, when its function was called
    worker: Worker | None = None  # the process in which


class Threads:
    """Threads that no one waits for: neither the end of a run nor that of the interpreter."""

    def __init__(self, workers: int):
        self.jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.workers = workers
        for _ in range(workers):
            self._start()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Evaluation:
        future = Evaluation()
        self.jobs.put((future, function, arguments))
        return future

    def abandon(self, future: Evaluation) -> None:
        """Fails an evaluation that is under way, and has its worker replaced."""
        try:
            future.set_exception(TimeoutError())
        except InvalidStateError:  # it came to its end just now
            return
        self._start()

    def close(self, idle: bool) -> None:
        """Ends workers once they are done with what they are busy with; `idle`: with nothing."""
        for _ in range(self.workers):
            self.jobs.put(None)

    def _start(self) -> None:
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        for future, function, arguments in iter(self.jobs.get, None):
            if not future.set_running_or_notify_cancel():
                continue
            try:
                self._evaluate(future, function, arguments)
            except InvalidStateError:  # given up meanwhile, and another thread is in this one's place
                return

    def _evaluate(self, future: Evaluation, function: Callable[..., Any], arguments: Any) -> None:
        try:
            future.began = time.monotonic()
            result = function(*arguments)
        except BaseException as error:  # SystemExit as well: a function must not end the thread
            future.set_exception(error)
        else:
            future.set_result(result)


class Processes(Threads):
    """Processes that each have a thread here, which waits for them: so it is known what every one is busy with.

    They are spawned, not forked: JAX has threads, whose locks a fork would copy as they happen to be. The function is sent to
    each once, when it starts.
    """

    def __init__(self, workers: int, function: Callable[..., Any]):
        self.function = pickle.dumps(function)
        self.mine = threading.local()
        self.processes: set[Worker] = set()
        self.closed = False
        super().__init__(workers)

    def abandon(self, future: Evaluation) -> None:
        if future.worker is not None:
            future.worker.process.kill()

    def close(self, idle: bool) -> None:
        self.closed = True
        super().close(idle)
        for worker in list(self.processes):
            worker.end(kill=not idle)
        for worker in list(self.processes):
            worker.join()

    def _evaluate(self, future: Evaluation, function: Callable[..., Any], arguments: Any) -> None:
        try:
            worker = getattr(self.mine, "worker", None) or self._begun()
            future.worker, future.began = worker, time.monotonic()
            result = worker.call(arguments)
        except BaseException as error:
            if isinstance(error, Crash):
                self.mine.worker = None
                self.processes.discard(worker)
            future.set_exception(error)
        else:
            future.set_result(result)

    def _begun(self) -> Worker:
        worker = Worker(self.function)
        self.processes.add(worker)
        if self.closed:
            worker.end(kill=True)
        worker.ready()
        self.mine.worker = worker
        return worker


class Worker:
    """A process and the pipe to it."""

    def __init__(self, function: bytes):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function))
        try:
            self.process.start()
        except RuntimeError as error:  # in a process that was spawned without a guard in its main module
            raise NotStarted(error) from error
        theirs.close()

    def ready(self) -> None:
        try:
            self._received()
        except (Crash, Remote) as error:
            raise NotStarted(error) from error

    def call(self, arguments: Any) -> Any:
        message = pickle.dumps(arguments)
        with contextlib.suppress(OSError):  # it has ended, as the next line will find
            self.pipe.send_bytes(message)
        return self._received()

    def _received(self) -> Any:
        try:
            kind, value = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            raise Crash(f"its process ended with exit code {self.process.exitcode}") from None
        if kind is None:
            return value
        error = Remote(kind)
        error.add_note(value)
        raise error

    def end(self, kill: bool) -> None:
        """Kills the process, or tells it to end itself."""
        if kill:
            self.process.kill()
        else:
            self.pipe.close()

    def join(self) -> None:
        """Waits for its end, a few seconds if it is to end itself."""
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _serve(pipe: multiprocessing.connection.Connection, function: bytes) -> None:
    """What a process does: it answers with (None, what the function returned), or with (what it raised, where)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first of them decides
    try:
        call = pickle.loads(function)
    except BaseException as error:
        pipe.send(_told(error))
        return
    with contextlib.suppress(EOFError, OSError):  # the other end is closed
        pipe.send((None, None))
        while True:
            arguments = pipe.recv_bytes()
            try:
                answer = pickle.dumps((None, call(*pickle.loads(arguments))))
            except BaseException as error:
                answer = pickle.dumps(_told(error))
            pipe.send_bytes(answer)


def _told(error: BaseException) -> tuple[str, str]:
    return error_in_words(error), "".join(traceback.format_exception(error))


def error_in_words(error: BaseException) -> str:
    """Type and message, those of the original where it was raised in a process."""
    return str(error) if isinstance(error, Remote) else f"{type(error).__name__}: {error}"

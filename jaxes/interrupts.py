"""Ends that come from outside of the program: Ctrl-C, SIGTERM, and a limit in seconds."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

from jaxes.stop import StopReason

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Within it, a signal only makes it say so when called, so that no call is torn apart; a second one raises.

    It returns a `StopReason`: INTERRUPTED after a signal, TIME when `seconds` have passed since it was entered, else RUNNING,
    which is false.
    """

    def __init__(self, seconds: float | None = None):
        self.seconds = seconds
        self.signalled = threading.Event()

    def __enter__(self) -> Interrupts:
        self.began = time.monotonic()
        self.previous: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                previous = signal.getsignal(number)
                if previous is not signal.SIG_IGN and previous is not None:
                    self.previous[number] = previous
                    signal.signal(number, self._note)
        return self

    def __exit__(self, *_: Any) -> None:
        for number, previous in self.previous.items():
            signal.signal(number, previous)

    def _note(self, number: int, frame: Any) -> None:
        if self.signalled.is_set():
            raise KeyboardInterrupt
        self.signalled.set()
        outer = getattr(self.previous[number], "__self__", None)
        if isinstance(outer, Interrupts):  # whose callback called what this is within
            outer.signalled.set()

    def __call__(self) -> StopReason:
        if self.signalled.is_set():
            return StopReason.INTERRUPTED
        if self.seconds is not None and time.monotonic() - self.began >= self.seconds:
            return StopReason.TIME
        return StopReason.RUNNING

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
    which is false. No time is up when it is asked for the first time, so that something is there to return.

    After SIGTERM, what was under way can be kept, and nothing else is begun: the next one raises SystemExit.
    """

    terminated = False

    def __init__(self, seconds: float | None = None):
        self.seconds = seconds
        self.signalled = threading.Event()
        self.number: int | None = None  # of the signal
        self.asked = False

    def __enter__(self) -> Interrupts:
        if Interrupts.terminated:
            raise SystemExit(128 + signal.SIGTERM)
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
        if self.previous.get(signal.SIGTERM) is signal.SIG_DFL:  # it would have ended the process
            Interrupts.terminated = self.number == signal.SIGTERM

    def _note(self, number: int, frame: Any) -> None:
        if self.signalled.is_set():
            raise KeyboardInterrupt
        self.number = number
        self.signalled.set()
        outer = getattr(self.previous[number], "__self__", None)
        if isinstance(outer, Interrupts):  # whose callback called what this is within
            outer.number = number
            outer.signalled.set()

    def __call__(self) -> StopReason:
        if self.signalled.is_set():
            return StopReason.INTERRUPTED
        asked, self.asked = self.asked, True
        if asked and self.seconds is not None and time.monotonic() - self.began >= self.seconds:
            return StopReason.TIME
        return StopReason.RUNNING

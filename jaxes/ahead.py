"""Compiled before it is called: while XLA makes a program, in a thread, JAX writes down the next, and runs go on."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Hashable
from typing import Any

import jax

SEEN: set[int] = set()
"""Hashes of what was compiled in this process: the programs themselves are JAX's to keep, and to let go of. What is here by
mistake is compiled where it is called."""


class Ahead:
    """Compiles programs that belong to something of a `signature`, and have names."""

    def __init__(self, *signature: Hashable):
        self.signature = hash(signature)  # once, not at every look of the host
        self.threads = concurrent.futures.ThreadPoolExecutor()
        self.under_way: dict[Hashable, concurrent.futures.Future[Any]] = {}

    def compile(self, name: Hashable, lowered: Callable[[], jax.stages.Lowered]) -> None:
        """Begins to, in a thread, unless it was done before. What fails there fails again where the program is called."""
        disabled = jax.config.jax_disable_jit  # type: ignore[attr-defined] # it is not in their annotations
        if (known := hash((self.signature, name))) not in SEEN and not disabled:
            SEEN.add(known)
            self.under_way[name] = self.threads.submit(lowered().compile)

    def wait(self, name: Hashable) -> None:
        """Until a program may be called, which would be compiled twice else."""
        if name in self.under_way:
            concurrent.futures.wait([self.under_way.pop(name)])

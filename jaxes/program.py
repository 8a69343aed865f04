"""`jax.jit` for what jaxes itself calls: on a CPU, XLA is asked for what compiles soonest, but for what `XLA_FLAGS` say.

For some time, XLA makes the kernels of a CPU by MLIR, whose contexts and passes take as long as all else about a kernel. Its
earlier way takes two thirds of the time until a first answer, and its programs are about as fast, some faster and some slower
(`benchmarks/families.py`, whose programs are compiled as `XLA_FLAGS` say, as are those of any `jit` of a user's own).
"""

from __future__ import annotations

import concurrent.futures
import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend.core import get_opaque_trace_state

ON_CPU = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 8,  # pieces that are compiled in parallel; of 32, each takes more than it saves
}


class Program:
    """A function, compiled, as `jax.jit` makes it of the same arguments."""

    def __init__(self, function: Callable[..., Any], **options: Any):
        functools.update_wrapper(self, function)
        self.function, self.options = function, options

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._here(*args, **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        return self._here.lower(*args, **kwargs)

    def clear_cache(self) -> None:
        for program in (self._anywhere, self._on_cpu):
            program.clear_cache()

    @property
    def _here(self) -> Any:
        # A part of another program, or of what is transformed, has no options of its own.
        alone = get_opaque_trace_state() == _outside()
        return self._on_cpu if alone and jax.default_backend() == "cpu" and _known() else self._anywhere

    @functools.cached_property
    def _anywhere(self) -> Any:
        return jax.jit(self.function, **self.options)

    @functools.cached_property
    def _on_cpu(self) -> Any:
        return jax.jit(self.function, compiler_options=_wanted(), **self.options)


@functools.cache
def _outside() -> Any:
    """The state of tracing where nothing is traced, as it is in a new thread."""
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(get_opaque_trace_state).result()


def _wanted() -> dict[str, Any]:
    """The options that users have not given themselves."""
    return {name: value for name, value in ON_CPU.items() if f"--{name}=" not in os.environ.get("XLA_FLAGS", "")}


@functools.cache
def _known() -> bool:
    """Whether this XLA knows the options: they may be gone one day."""
    try:
        jax.jit(lambda: np.int32(0), compiler_options=_wanted()).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True

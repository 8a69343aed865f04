"""Strict JAX for all tests: no silent promotion of ranks or dtypes."""

import contextlib
import gc
import os
import pathlib
import signal
import typing

os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import jax._src.compiler
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_include_full_tracebacks_in_locations", False)  # of programs' text, which nobody reads here

# Of tests that are marked `quick`: XLA takes half the time for programs that are slower and round otherwise, on CPUs alone.
QUICK = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0, "xla_cpu_parallel_codegen_split_count": 1}
QUICK_FLAGS = " ".join(f"--{name}={str(value).lower()}" for name, value in QUICK.items())

# A setting that JAX keeps programs apart by, and that does nothing else here: what was made quickly serves no other test.
SWITCH = "jax_pgle_profiling_runs"
DEFAULT = getattr(jax.config, SWITCH, None)

_options = getattr(jax._src.compiler, "get_compile_options", None)  # not public: where it is not there, tests are slow


def _options_or_quick_ones(*args: typing.Any, **options: typing.Any) -> typing.Any:
    if getattr(jax.config, SWITCH) != DEFAULT and jax.default_backend() == "cpu":
        options["env_options_overrides"] = (options.get("env_options_overrides") or {}) | QUICK
    return _options(*args, **options)


if _options is not None:
    jax._src.compiler.get_compile_options = _options_or_quick_ones


# Tracing makes millions of small objects, which Python would look through for rings again and again: a tenth of all time.
gc.freeze()
gc.set_threshold(200_000, 20, 100)


def pytest_configure(config):
    config.addinivalue_line("markers", "quick(yes=True): compiled with little optimisation, as tests of mathematics may be")


@contextlib.contextmanager
def compiled_quickly(quick=True):
    """What is compiled within."""
    if _options is None or DEFAULT is None:
        yield
        return
    before = getattr(jax.config, SWITCH)
    jax.config.update(SWITCH, DEFAULT + quick)
    try:
        yield
    finally:
        jax.config.update(SWITCH, before)


@pytest.fixture(autouse=True)
def _compiled_quickly_or_as_users_do(request):
    mark = request.node.get_closest_marker("quick")
    with compiled_quickly(mark is not None and mark.args != (False,)):
        yield


@pytest.fixture(autouse=True)
def _ctrl_c_works():
    """Also where the tests were started in the background of a shell, which ignores interrupts."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.fixture(autouse=True, scope="module")
def _compiled_programs_are_let_go():
    """Every program takes some of the mappings of memory that a process may have, 65,530 on Linux, and XLA aborts without."""
    yield
    maps = pathlib.Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 40_000:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def x64():
    """Double precision within one test."""
    with jax.enable_x64(True):
        yield

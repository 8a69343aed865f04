"""Programs are compiled with jaxes' own options where they are called by themselves, and are parts of others elsewhere."""

import jax
import jax.numpy as jnp
import pytest

from jaxes import program
from jaxes.program import Program

# Elsewhere no program has options, and there is nothing to see.
on_a_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="the options are for CPUs")
UNKNOWN = {"xla_option_that_there_is_not": True}


@pytest.fixture
def asks_for_what_there_is_not(monkeypatch):
    monkeypatch.setattr(program, "ON_CPU", UNKNOWN)
    program._known.cache_clear()
    yield
    program._known.cache_clear()


def plus_one(x):
    return x + 1


@on_a_cpu
def test_where_xla_does_not_know_the_options_there_are_none(asks_for_what_there_is_not):
    """An XLA of another time compiles as it does by itself."""
    assert Program(plus_one)(2) == 3
    assert not program._known()


WITHIN = {
    "jit": lambda f: jax.jit(f),
    "jit of nothing": lambda f: lambda x: jax.jit(lambda: f(x))(),
    "vmap": lambda f: lambda x: jax.vmap(f)(x[None])[0],
    "grad": lambda f: lambda x: jax.grad(lambda x: jnp.sum(f(x)) ** 2 / 2)(x),
    "jvp": lambda f: lambda x: jax.jvp(f, (x,), (x,))[0],
    "scan": lambda f: lambda x: jax.lax.scan(lambda _, x: (None, f(x)), None, x[None])[1][0],
    "cond": lambda f: lambda x: jax.lax.cond(x > 0, f, lambda x: x, x),
}


@on_a_cpu
@pytest.mark.parametrize("within", WITHIN)
def test_a_part_of_another_program_has_no_options(within, monkeypatch):
    """JAX refuses them there. By itself, the program has them: here, that is refused by XLA."""
    monkeypatch.setattr(program, "ON_CPU", UNKNOWN)
    monkeypatch.setattr(program, "_known", lambda: True)
    one = Program(plus_one)
    assert WITHIN[within](one)(jnp.float32(2)) == 3
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_option_that_there_is_not"):
        one(jnp.float32(2))


def test_what_xla_flags_say_is_left_to_them(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    assert program._wanted() == program.ON_CPU
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=x --xla_cpu_use_fusion_emitters=true")
    assert set(program.ON_CPU) - set(program._wanted()) == {"xla_cpu_use_fusion_emitters"}

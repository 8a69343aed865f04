"""`jaxes.operators.linalg`: what jaxlib computes, in parts that never wait for each other; `jaxes.operators.matrix`."""

import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxes
from jaxes.operators import linalg, matrix

ROOT = pathlib.Path(jaxes.__file__).parent


def spread(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def positive(*shape):
    a = spread(*shape)
    return a @ a.swapaxes(-1, -2) + 3 * np.eye(shape[-1], dtype=np.float32)


A, P, LOWER, B = spread(3, 7, 5, 5), positive(3, 7, 5, 5), np.tril(positive(3, 7, 5, 5)), spread(3, 7, 5, 2)


@pytest.mark.parametrize("part", [1, 2, 4, 1000])
@pytest.mark.parametrize(
    ("function", "arrays", "expected"),
    [
        (linalg.cholesky, (P,), np.linalg.cholesky(P)),
        (linalg.solve, (A, B), np.linalg.solve(A, B)),
        (lambda a, b: linalg.solve_triangular(a, b, lower=True), (LOWER, B), np.linalg.solve(LOWER, B)),
        (
            lambda a, b: linalg.solve_triangular(a, b, lower=True, transposed=True),
            (LOWER, B),
            np.linalg.solve(LOWER.swapaxes(-1, -2), B),
        ),
        (linalg.log_determinant, (A,), np.linalg.slogdet(A)[1]),
        (lambda a: linalg.eigh(a)[0], (P,), np.linalg.eigvalsh(P)),
        (lambda a: (lambda values, axes: (axes * values[None]) @ axes.T)(*linalg.eigh(a)), (P,), P),
        (lambda a: (lambda q, r: q @ r)(*linalg.qr(a)), (B,), B),
        (lambda a: (lambda q: q.T @ q)(linalg.qr(a)[0]), (B,), np.broadcast_to(np.eye(2), (3, 7, 2, 2))),
    ],
)
def test_parts_of_batches_within_batches_are_what_numpy_computes(monkeypatch, part, function, arrays, expected):
    monkeypatch.setattr(linalg, "_in_parts", lambda function, operations: in_parts(function, linalg.SHARED // part))
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.vmap(function)))(*arrays), expected, rtol=2e-4, atol=2e-4)
    one = function(*(jnp.asarray(a[1, 2]) for a in arrays))
    np.testing.assert_allclose(one, expected[1, 2], rtol=2e-4, atol=2e-4)


in_parts = linalg._in_parts


def test_what_has_no_lane_is_the_same_for_all():
    many = jax.vmap(linalg.solve_triangular, (None, 0))(jnp.triu(A[0, 0]), B[0])
    np.testing.assert_allclose(many, np.linalg.solve(np.triu(A[0, 0]), B[0]), rtol=2e-4, atol=2e-4)


def test_one_dimension_is_enough():
    for function in (linalg.cholesky, linalg.log_determinant, linalg.eigh, linalg.qr):
        for result in jax.tree.leaves(jax.vmap(function)(jnp.ones((2, 1, 1)))):
            np.testing.assert_array_equal(np.abs(result).ravel(), 0 if function is linalg.log_determinant else 1)


def test_a_matrix_without_a_root_spoils_no_other():
    roots = jax.vmap(linalg.cholesky)(jnp.stack([jnp.eye(3), -jnp.eye(3)]))
    np.testing.assert_array_equal(roots[0], np.eye(3))
    assert np.isnan(roots[1]).any()


def test_nothing_else_calls_lapack():
    calls = re.compile(r"(?<!np\.)\blinalg\.(cholesky|qr|eigh|eigvalsh|solve|slogdet|det|inv|pinv|svd|lu|solve_triangular)\b")
    for source in ROOT.rglob("*.py"):
        if source.name != "linalg.py":
            assert not calls.search(source.read_text()), source


HANGS = """
import threading
import jax, jax.numpy as jnp
from jaxes.operators import linalg

def change(i, c):
    a, b, x = c
    for j in range(12):  # enough else to do for XLA to use its threads
        x = x - jnp.sort(jnp.roll(x, j, 1) * 1e-3, axis=1)
    roots = [jax.vmap(linalg.cholesky)(m) for m in (a, b)]  # which do not wait for each other
    x = x + 1e-9 * sum(r.sum((1, 2)) for r in roots)[:, None]
    a, b = (m + 1e-6 * jnp.abs(x).min(1)[:, None, None] * jnp.eye(40) for m in (a, b))
    return a, b, x

program = jax.jit(lambda c: jax.lax.fori_loop(0, 100, change, c))
eye = jnp.broadcast_to(jnp.eye(40), (64, 40, 40))
threads = [threading.Thread(target=lambda: jax.block_until_ready(program((eye, 2 * eye, eye[:, 0])))) for _ in range(3)]
[t.start() for t in threads]
[t.join() for t in threads]
"""


def test_factorizations_do_not_wait_for_each_other():
    # With jaxlib 0.10's own, on two cores, this never ends.
    subprocess.run([sys.executable, "-c", HANGS], check=True, timeout=600, cwd=ROOT.parent)


@pytest.mark.parametrize("d", [1, 2, 63, 64, 95, 96, 100, 131])
def test_zeros_of_triangles_are_left_out_of_products(d):
    a, b, upper = spread(7, d), spread(7, d), np.triu(spread(d, d))
    np.testing.assert_allclose(jax.jit(matrix.mul_upper)(a, upper), a @ upper, rtol=1e-4, atol=1e-4)
    outer = jax.jit(matrix.outer_upper)(a, b)
    np.testing.assert_allclose(np.triu(outer), np.triu(a.T @ b), rtol=1e-4, atol=1e-4)
    if d >= 64:  # cut into blocks
        upper[d // 2 + 8 :, : d // 3 - 8] = np.nan
        assert np.isfinite(jax.jit(matrix.mul_upper)(a, upper)).all()
        np.testing.assert_array_equal(outer[d // 2 + 8 :, : d // 3 - 8], 0)
    many = jax.jit(jax.vmap(matrix.mul_upper, (0, None)))(np.stack([a, b]), np.triu(spread(d, d)))
    np.testing.assert_allclose(many[1], b @ np.triu(spread(d, d)), rtol=1e-4, atol=1e-4)

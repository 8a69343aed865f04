"""The 24 noiseless functions of the BBOB suite of COCO, in any dimension from 2 up and any instance.

References: N. Hansen, S. Finck, R. Ros, A. Auger: Real-parameter black-box optimization benchmarking 2009: noiseless
functions definitions, INRIA RR-6829 (2009, updated 2019), below "the report"; and the reference implementation, COCO's
`coco-experiment`, which wins where the two differ. Values agree with it to a relative 1e-10 in float64. COCO itself stops
at dimension 40; beyond, the same definitions go on.

Departures: each function is written as its gap, f(x) - f_opt, in terms of x - x_opt and without subtracting what nearly
cancels (1 - cos(a) is 2 sin(a/2)**2, and so on), so that float32 resolves targets as small as 1e-8. The report's Lambda^alpha
is called `scaling` here, T_osz `oscillate`, T_asy `asymmetric`, f_pen `outside`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxes.checks import check_integer
from jaxes.operators.matrix import mul
from jaxes.problems.problem import Problem
from jaxes.pytree import pytree
from jaxes.space import Box

GROUPS = {
    "separable": range(1, 6),
    "moderate": range(6, 10),
    "ill-conditioned": range(10, 15),
    "multimodal": range(15, 20),
    "weak structure": range(20, 25),
}
"""The suite's five groups, and the functions of each."""

NAMES = (
    "sphere",
    "separable ellipsoid",
    "separable Rastrigin",
    "Büche-Rastrigin",
    "linear slope",
    "attractive sector",
    "step ellipsoid",
    "Rosenbrock",
    "rotated Rosenbrock",
    "ellipsoid",
    "discus",
    "bent cigar",
    "sharp ridge",
    "different powers",
    "Rastrigin",
    "Weierstrass",
    "Schaffer F7",
    "ill-conditioned Schaffer F7",
    "Griewank-Rosenbrock",
    "Schwefel",
    "Gallagher 101 peaks",
    "Gallagher 21 peaks",
    "Katsuura",
    "Lunacek bi-Rastrigin",
)
"""The functions' names; function 1 comes first."""


@pytree
class Instance:
    """What tells one instance of a function from another. An array is None where the function has no use for it."""

    x_opt: Any  # (d,)
    first: Any = None  # (d, d), applied to x - x_opt
    second: Any = None  # (d, d), applied after a distortion
    centres: Any = None  # (peaks, d) of Gallagher's peaks, rotated
    widths: Any = None  # (peaks, d), the diagonals of their C
    heights: Any = None  # (peaks,)


def bbob(function: int | Sequence[Any], dimension: int = 5, instance: int | Sequence[Any] = 1) -> Problem:
    """BBOB functions as a problem on [-5, 5]**dimension. Values outside of the box are COCO's, too.

    Args:
        function: 1 to 24.
        dimension: at least 2.
        instance: at least 1: offsets, rotations and optimal values are COCO's for the number.

    Function and instance can be (nested) sequences, which broadcast as in NumPy. All leaves of the problem then have that
    shape in front: `jax.vmap` over it. Instances of one function are one cheap program; under `vmap`, a mixture of functions
    evaluates all 24 at each point and selects.

    Raises:
        ValueError, TypeError: no such function, instance or dimension.
    """
    dimension = check_integer("bbob", "dimension", dimension, at_least=2)
    functions = _integers("function", function, 1, 24)
    instances = _integers("instance", instance, 1, _LAST_INSTANCE)
    try:
        functions, instances = np.broadcast_arrays(functions, instances)
    except ValueError:
        raise ValueError(
            f"bbob(function=..., instance=...) must broadcast, got shapes {functions.shape} and {instances.shape}."
        ) from None
    if functions.size == 0:
        raise ValueError("bbob needs at least one function and instance.")
    space = Box(-5.0, 5.0, shape=(dimension,))

    numbers, flat = np.unique(functions), functions.ravel()
    mixed = np.ndim(function) > 0
    places = [np.flatnonzero(flat == number) for number in numbers]
    parts = [generate(int(n), dimension, instances.ravel()[at]) for n, at in zip(numbers, places, strict=True)]
    if mixed:
        parts = [_padded(part) for part in parts]
    back = np.argsort(np.concatenate(places))
    parameters, f_opt = jax.tree.map(
        lambda *rows: np.concatenate(rows)[back].reshape(functions.shape + rows[0].shape[1:]), *parts
    )
    optimum = parameters.x_opt
    if not mixed:
        name, evaluate = f"bbob f{numbers[0]} {NAMES[numbers[0] - 1]}", GAPS[numbers[0] - 1]
    else:
        name, evaluate, parameters = "bbob", _any, (functions.astype(np.int32) - 1, parameters)
    cast = functools.partial(_cast, dtype=space.dtype)
    if functions.shape:
        space = jax.tree.map(lambda leaf: np.broadcast_to(leaf, functions.shape + np.shape(leaf)), space)
    f_opt = cast(f_opt)
    return Problem(evaluate, space, cast(optimum), f_opt, name, jax.tree.map(cast, parameters), f_opt)


_LAST_INSTANCE = 200_000  # the seeds of larger ones would leave the generator's 31 bits


def _integers(name: str, value: Any, low: int, high: int) -> np.ndarray:
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"bbob({name}=...) must be an integer or a sequence of integers, got {value!r}.")
    if ((numbers < low) | (numbers > high)).any():
        raise ValueError(f"bbob({name}=...) must be from {low} to {high}, got {value!r}.")
    return numbers


def _cast(leaf: np.ndarray, dtype: Any) -> np.ndarray:
    return leaf.astype(dtype) if leaf.dtype.kind == "f" else leaf


def _padded(generated: tuple[Instance, np.ndarray]) -> tuple[Instance, np.ndarray]:
    """Instances that use every array, so that those of different functions have one structure."""
    instance, f_opt = generated
    count, d = instance.x_opt.shape
    shapes = {"first": (d, d), "second": (d, d), "centres": (101, d), "widths": (101, d), "heights": (101,)}
    changes = {}
    for name, shape in shapes.items():
        array = getattr(instance, name)
        full = np.zeros((count, *shape))
        if array is not None:
            full[:, : array.shape[1]] = array
        changes[name] = full  # a peak of height 0 is no peak
    return dataclasses.replace(instance, **changes), f_opt


# The functions: one solution (d,) and its instance -> (), f(x) - f_opt.


def _ramp(x: jax.Array) -> Any:
    """0 to 1, evenly over the coordinates: the exponents of all scalings."""
    return np.arange(x.shape[0]) / (x.shape[0] - 1)


def _scaling(x: jax.Array, condition: float) -> Any:
    """The diagonal of Lambda^condition."""
    return (condition ** (_ramp(x) / 2)).astype(x.dtype)


def _outside(x: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(jnp.maximum(jnp.abs(x) - 5, 0)))


def _oscillate(x: jax.Array) -> jax.Array:
    """x times a factor between 0.9 and 1.1 that swings with log|x|; elementwise."""
    log = jnp.log(jnp.abs(jnp.where(x == 0, 1, x)))
    positive = x > 0
    waves = jnp.sin(jnp.where(positive, 10, 5.5).astype(x.dtype) * log) + jnp.sin(
        jnp.where(positive, 7.9, 3.1).astype(x.dtype) * log
    )
    return x * jnp.exp(0.049 * waves)


def _asymmetric(x: jax.Array, beta: float) -> jax.Array:
    """x**(1 + beta ramp sqrt(x)) where x > 0."""
    positive = jnp.where(x > 0, x, 1)
    return x * jnp.exp((beta * _ramp(x)).astype(x.dtype) * jnp.sqrt(positive) * jnp.log(positive))


def _ripple(z: jax.Array) -> jax.Array:
    """sum of 1 - cos(2 pi z)."""
    return 2 * jnp.sum(jnp.square(jnp.sin(math.pi * (z - jnp.round(z)))))


def _sphere(x: jax.Array, p: Instance) -> jax.Array:
    return jnp.sum(jnp.square(x - p.x_opt))


def _separable_ellipsoid(x: jax.Array, p: Instance) -> jax.Array:
    return _quadratic(_oscillate(x - p.x_opt), 1e6)


def _quadratic(z: jax.Array, condition: float) -> jax.Array:
    return jnp.sum(jnp.square(_scaling(z, condition) * z))


def _separable_rastrigin(x: jax.Array, p: Instance) -> jax.Array:
    z = _scaling(x, 10) * _asymmetric(_oscillate(x - p.x_opt), 0.2)
    return 10 * _ripple(z) + jnp.sum(z * z)


def _bueche_rastrigin(x: jax.Array, p: Instance) -> jax.Array:
    y = _oscillate(x - p.x_opt)
    even = np.arange(x.shape[0]) % 2 == 0  # the report counts from 1
    z = _scaling(x, 10) * jnp.where((y > 0) & even, 10 * y, y)
    return 10 * _ripple(z) + jnp.sum(z * z) + 100 * _outside(x)


def _linear_slope(x: jax.Array, p: Instance) -> jax.Array:
    return jnp.sum(_scaling(x, 100) * jnp.maximum(5 - jnp.sign(p.x_opt) * x, 0))


def _attractive_sector(x: jax.Array, p: Instance) -> jax.Array:
    z = mul(p.first, x - p.x_opt)
    s = jnp.where(p.x_opt * z > 0, 100 * z, z)
    return _oscillate(jnp.sum(s * s)) ** 0.9


def _step_ellipsoid(x: jax.Array, p: Instance) -> jax.Array:
    y = mul(p.first, x - p.x_opt)
    steps = jnp.where(jnp.abs(y) > 0.5, jnp.floor(y + 0.5), jnp.floor(10 * y + 0.5) / 10)
    return 0.1 * jnp.maximum(jnp.abs(y[0]) / 1e4, _quadratic(mul(p.second, steps), 100)) + _outside(x)


def _rosenbrock(x: jax.Array, p: Instance) -> jax.Array:
    return jnp.sum(_valley(max(1.0, math.sqrt(x.shape[0]) / 8) * (x - p.x_opt)))


def _valley(u: jax.Array) -> jax.Array:
    """The terms (d - 1,) of the Rosenbrock function at 1 + u."""
    return 100 * jnp.square(u[:-1] * (2 + u[:-1]) - u[1:]) + jnp.square(u[:-1])


def _rotated_rosenbrock(x: jax.Array, p: Instance) -> jax.Array:
    return jnp.sum(_valley(mul(p.first, x - p.x_opt)))


def _ellipsoid(x: jax.Array, p: Instance) -> jax.Array:
    return _quadratic(_oscillate(mul(p.first, x - p.x_opt)), 1e6)


def _discus(x: jax.Array, p: Instance) -> jax.Array:
    z = jnp.square(_oscillate(mul(p.first, x - p.x_opt)))
    return 1e6 * z[0] + jnp.sum(z[1:])


def _bent_cigar(x: jax.Array, p: Instance) -> jax.Array:
    z = jnp.square(mul(p.first, _asymmetric(mul(p.first, x - p.x_opt), 0.5)))
    return z[0] + 1e6 * jnp.sum(z[1:])


def _sharp_ridge(x: jax.Array, p: Instance) -> jax.Array:
    z = mul(p.first, x - p.x_opt)
    return z[0] * z[0] + 100 * jnp.sqrt(jnp.sum(jnp.square(z[1:])))


def _different_powers(x: jax.Array, p: Instance) -> jax.Array:
    z = jnp.abs(mul(p.first, x - p.x_opt))
    return jnp.sqrt(jnp.sum(z ** (2 + 4 * _ramp(x)).astype(x.dtype)))


def _rastrigin(x: jax.Array, p: Instance) -> jax.Array:
    z = mul(p.second, _asymmetric(_oscillate(mul(p.first, x - p.x_opt)), 0.2))
    return 10 * _ripple(z) + jnp.sum(z * z)


def _weierstrass(x: jax.Array, p: Instance) -> jax.Array:
    z = mul(p.second, _oscillate(mul(p.first, x - p.x_opt)))
    # As 3**k is odd, the k-th term less its share of f0 is 2**-k (1 - cos(2 pi 3**k z)), and sin(3 a)**2 = s (3 - 4 s)**2
    # for s = sin(a)**2: one sine instead of twelve.
    s = jnp.square(jnp.sin(math.pi * (z - jnp.round(z))))
    total = s
    for k in range(1, 12):
        s = s * jnp.square(3 - 4 * s)
        total = total + 0.5**k * s
    return 10 * (2 * jnp.mean(total)) ** 3 + 10 / x.shape[0] * _outside(x)


def _schaffer(x: jax.Array, p: Instance) -> jax.Array:
    z = jnp.square(mul(p.second, _asymmetric(mul(p.first, x - p.x_opt), 0.5)))
    s = z[:-1] + z[1:]  # the report's s**2
    return jnp.square(jnp.mean(s**0.25 * (1 + jnp.square(jnp.sin(50 * s**0.1))))) + 10 * _outside(x)


def _griewank_rosenbrock(x: jax.Array, p: Instance) -> jax.Array:
    s = _valley(mul(p.first, x - p.x_opt))
    return 10 * jnp.mean(s / 4000 + 2 * jnp.square(jnp.sin(s / 2)))


# The maximum of x sin(sqrt(x)) on [0, 500], and the sine and cosine there. COCO's optimum has ten digits of it.
_SCHWEFEL = 420.96874635998203
_ROOT = math.sqrt(_SCHWEFEL)


def _schwefel(x: jax.Array, p: Instance) -> jax.Array:
    w = 2 * jnp.sign(p.x_opt) * (x - p.x_opt)
    w = w + 0.25 * jnp.concatenate([jnp.zeros_like(w[:1]), w[:-1]])
    e = 100 * _scaling(x, 10) * w + (200 * 2.10484373185 - _SCHWEFEL)  # z - 420.96...
    z = _SCHWEFEL + e
    penalty = jnp.sum(jnp.square(jnp.maximum(jnp.abs(z) - 500, 0)))
    return 0.01 * (penalty + jnp.mean(_schwefel_gap(z, e)))


def _schwefel_gap(z: jax.Array, e: jax.Array) -> jax.Array:
    """418.98... - z sin(sqrt|z|) for z = 420.96... + e, elementwise.

    With z = (r + t)**2 and r the root of 420.96..., the derivative's zero, sin(r) = -r/2 cos(r), leaves
    cos(r) times r**2 (t cos t - sin t) + r t**2 cos(t) / 2 - r**3 (1 - cos t) / 2 - (2 r + t) t sin t.
    """
    far = _SCHWEFEL * math.sin(_ROOT) - z * jnp.sin(jnp.sqrt(jnp.abs(z)))
    close = jnp.abs(e) < 10
    e = jnp.where(close, e, 0)
    t = e / (_ROOT + jnp.sqrt(_SCHWEFEL + e))
    t2 = t * t
    cubic = -t * t2 / 3 * (1 - t2 / 10 * (1 - t2 / 28))  # t cos t - sin t, where |t| < 0.25
    near = math.cos(_ROOT) * (
        _ROOT**2 * cubic
        + _ROOT / 2 * t2 * jnp.cos(t)
        - _ROOT**3 * jnp.square(jnp.sin(t / 2))
        - (2 * _ROOT + t) * t * jnp.sin(t)
    )
    return jnp.where(close, near, far)


def _gallagher(x: jax.Array, p: Instance) -> jax.Array:
    apart = mul(p.first, x)[None, :] - p.centres
    q = jnp.sum(p.widths * apart * apart, axis=1) / (2 * x.shape[0])
    # 10 - h exp(-q), exact where h is 10 and q is small
    return jnp.square(_oscillate(jnp.min((10 - p.heights) - p.heights * jnp.expm1(-q)))) + _outside(x)


def _katsuura(x: jax.Array, p: Instance) -> jax.Array:
    z = mul(p.first, x - p.x_opt)
    d = x.shape[0]
    total = jnp.zeros_like(z)
    for j in range(1, 33):
        z = 2 * (z - jnp.round(z))
        total = total + jnp.abs(z - jnp.round(z)) * 0.5**j
    log = jnp.sum(jnp.log1p(np.arange(1, d + 1).astype(x.dtype) * total))
    return 10 / d**2 * jnp.expm1(10 / d**1.2 * log) + _outside(x)


def _lunacek(x: jax.Array, p: Instance) -> jax.Array:
    d = x.shape[0]
    s = 1 - 1 / (2 * math.sqrt(d + 20) - 8.2)
    mu0 = 2.5
    mu1 = -math.sqrt((mu0**2 - 1) / s)
    away = 2 * jnp.sign(p.x_opt) * (x - p.x_opt)  # x_hat - mu0
    funnels = jnp.minimum(jnp.sum(jnp.square(away)), d + s * jnp.sum(jnp.square(away + (mu0 - mu1))))
    return funnels + 10 * _ripple(mul(p.first, away)) + 1e4 * _outside(x)


GAPS: tuple[Callable[[jax.Array, Instance], jax.Array], ...] = (
    _sphere,
    _separable_ellipsoid,
    _separable_rastrigin,
    _bueche_rastrigin,
    _linear_slope,
    _attractive_sector,
    _step_ellipsoid,
    _rosenbrock,
    _rotated_rosenbrock,
    _ellipsoid,
    _discus,
    _bent_cigar,
    _sharp_ridge,
    _different_powers,
    _rastrigin,
    _weierstrass,
    _schaffer,
    _schaffer,
    _griewank_rosenbrock,
    _schwefel,
    _gallagher,
    _gallagher,
    _katsuura,
    _lunacek,
)
"""f - f_opt of every function: (x, instance) -> scalar."""


def _any(x: jax.Array, parameters: tuple[jax.Array, Instance]) -> jax.Array:
    """The function of an index that is only known at run time."""
    index, instance = parameters
    return lax.switch(index, GAPS, x, instance)


# The instances, on the host in float64 as COCO draws them. A leading axis `n` is the instance.


def generate(function: int, dimension: int, instances: np.ndarray) -> tuple[Instance, np.ndarray]:
    """The instances (n, ...) of a function, and their optimal values (n,)."""
    d = dimension
    like = {4: 3, 18: 17}.get(function, function)  # these two share the seeds of their sisters
    seeds = like + 10_000 * np.asarray(instances, np.int64)
    f_opt = _optimal_value(seeds)
    x_opt = _optimum(d, seeds)
    second = functools.partial(_rotation, d, seeds)  # the report's Q
    first = functools.partial(_rotation, d, seeds + 1_000_000)  # its R

    ramp = np.arange(d) / (d - 1)

    def between(condition: float) -> np.ndarray:  # R Lambda Q, summed in COCO's order
        left, right, total = first() * math.sqrt(condition) ** ramp, second(), 0.0
        for k in range(d):
            total = total + left[:, :, k, None] * right[:, None, k]
        return np.asarray(total)

    if function == 4:
        x_opt[:, ::2] = np.abs(x_opt[:, ::2])
    elif function == 5:
        x_opt = np.where(x_opt < 0, -5.0, 5.0)
    elif function in (6, 13):
        return Instance(x_opt, between(10)), f_opt
    elif function == 7:
        return Instance(x_opt, np.sqrt(10**ramp)[:, None] * second(), first()), f_opt
    elif function == 8:
        x_opt = 0.75 * x_opt
    elif function in (9, 19):
        scale = max(1.0, math.sqrt(d) / 8)
        rotation = scale * second()  # orthogonal but for rounding, which f19 would magnify
        return Instance(np.linalg.solve(rotation, np.full((len(seeds), d, 1), 0.5))[:, :, 0], rotation), f_opt
    elif function in (10, 11, 14):
        return Instance(x_opt, first()), f_opt
    elif function == 12:
        return Instance(_optimum(d, seeds + 1_000_000), first()), f_opt
    elif function == 15:
        return Instance(x_opt, first(), between(10)), f_opt
    elif function == 16:
        return Instance(x_opt, first(), between(0.01)), f_opt
    elif function in (17, 18):
        condition = 10 if function == 17 else 1000
        return Instance(x_opt, first(), math.sqrt(condition) ** ramp[:, None] * second()), f_opt
    elif function == 20:
        x_opt = np.where(_uniform(d, seeds) < 0.5, -1, 1) * 0.5 * 4.2096874637
    elif function in (21, 22):
        return _peaks(101 if function == 21 else 21, d, seeds, second()), f_opt
    elif function == 23:
        return Instance(x_opt, between(100)), f_opt
    elif function == 24:
        x_opt = np.where(_gauss(d, seeds) < 0, -1.25, 1.25)
        return Instance(x_opt, between(100)), f_opt
    return Instance(x_opt), f_opt


def _peaks(count: int, d: int, seeds: np.ndarray, rotation: np.ndarray) -> Instance:
    """Gallagher's peaks; the first is the optimum."""
    spread, shift, sharpest = (10.0, 5.0, math.sqrt(1000)) if count == 101 else (9.8, 4.9, 1000.0)
    order = np.argsort(_uniform(count - 1, seeds), axis=1, kind="stable")
    conditions = np.concatenate([np.full((len(seeds), 1), sharpest), 1000 ** (order / (count - 2))], axis=1)
    each = (seeds[:, None] + 1000 * np.arange(count)).ravel()
    exponents = np.argsort(_uniform(d, each), axis=1, kind="stable").reshape(-1, count, d) / (d - 1) - 0.5
    y = spread * _uniform(d * count, seeds).reshape(-1, count, d) - shift
    y[:, 0] *= 0.8
    heights = np.concatenate([[10.0], np.arange(count - 1) / (count - 2) * (9.1 - 1.1) + 1.1])
    return Instance(
        x_opt=y[:, 0],
        first=rotation,
        centres=y @ rotation.swapaxes(1, 2),
        widths=conditions[:, :, None] ** exponents,
        heights=np.broadcast_to(heights, (len(seeds), count)),
    )


def _optimum(d: int, seeds: np.ndarray) -> np.ndarray:
    x = 8 * np.floor(1e4 * _uniform(d, seeds)) / 1e4 - 4
    return np.where(x == 0, -1e-5, x)


def _optimal_value(seeds: np.ndarray) -> np.ndarray:
    ratio = _gauss(1, seeds)[:, 0] / _gauss(1, seeds + 1)[:, 0]
    return np.clip(np.floor(100 * 100 * ratio + 0.5) / 100, -1000, 1000)


def _rotation(d: int, seeds: np.ndarray) -> np.ndarray:
    """(n, d, d): columns of Gaussians, made orthonormal from left to right."""
    basis = _gauss(d * d, seeds).reshape(-1, d, d)  # rows, here
    for i in range(d):
        for j in range(i):
            basis[:, i] -= _dot(basis[:, i], basis[:, j]) * basis[:, j]
        basis[:, i] /= np.sqrt(_dot(basis[:, i], basis[:, i]))
    return np.ascontiguousarray(basis.swapaxes(1, 2))


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, 1), summed from left to right, as COCO does."""
    return np.cumsum(a * b, axis=1)[:, -1:]


# Those of the C library that COCO uses too: orthonormalising magnifies NumPy's other last bit.
_log = np.vectorize(math.log, otypes=[float])
_cos = np.vectorize(math.cos, otypes=[float])


def _gauss(count: int, seeds: np.ndarray) -> np.ndarray:
    """(n, count) normal numbers by the method of Box and Muller."""
    u = _uniform(2 * count, seeds)
    g = np.sqrt(-2 * _log(u[:, :count])) * _cos(2 * np.pi * u[:, count:])
    return np.where(g == 0, 1e-99, g)


def _uniform(count: int, seeds: np.ndarray) -> np.ndarray:
    """(n, count) uniform numbers: the minimal standard generator, shuffled by the method of Bays and Durham."""
    last = 2**31 - 1
    value = np.maximum(np.abs(seeds), 1)
    table = np.empty((len(seeds), 32), np.int64)
    for i in range(39, -1, -1):
        value = 16807 * value % last
        if i < 32:
            table[:, i] = value
    rows = np.arange(len(seeds))
    drawn = table[:, 0].copy()
    numbers = np.empty((len(seeds), count))
    for i in range(count):
        value = 16807 * value % last
        slot = drawn // 67_108_865
        drawn = table[rows, slot]
        table[rows, slot] = value
        numbers[:, i] = drawn
    return np.maximum(numbers / last, 1e-99)

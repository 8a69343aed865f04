"""The classic test functions, with box, optimum and optimal value as in the literature.

The first six and `levy`, `styblinski_tang` and `michalewicz` exist in any dimension, the others in two.

Written so that float32 resolves the gap to the optimum where arithmetic allows it: 1 - cos(a) is 2 sin(a/2)**2, and
exp(a) - 1 is expm1(a). Where a closed form of the gap to a nonzero optimal value exists, that is the function, and the
optimal value is the problem's offset. Boxes and optima: Surjanovic & Bingham, Virtual Library of Simulation
Experiments, and for beale and himmelblau Jamil & Yang (2013), A literature survey of benchmark functions; first sources
at each function.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxes.checks import check_integer
from jaxes.problems.problem import Problem
from jaxes.space import Box

Point = float | tuple[float, float] | np.ndarray


def _problem(function: Callable, dimension: int, half_width: float, optimum: Point, at_least: int = 1, **more):
    """In any dimension, with one interval for all coordinates."""
    dimension = check_integer(_name(function), "dimension", dimension, at_least)
    return _make(function, Box(-half_width, half_width, shape=(dimension,)), optimum, **more)


def _plane(function: Callable, dimension: int, lower: Point, upper: Point, optimum: Point, **more):
    """In two dimensions."""
    if dimension != 2:
        raise ValueError(f"{_name(function)}(dimension=...) must be 2, got {dimension}.")
    return _make(function, Box(np.asarray(lower, float), np.asarray(upper, float), shape=(2,)), optimum, **more)


def _make(function: Callable, space: Box, optimum: Point, value: float = 0.0, offset: bool = False) -> Problem:
    """With `offset`, the function is the gap to `value`."""
    best = np.broadcast_to(np.asarray(optimum, space.dtype), space.shape)
    optimal = np.asarray(value, space.dtype)
    return Problem(function, space, best, optimal, _name(function), offset=optimal if offset else None)


def _name(function: Callable) -> str:
    return function.__name__.lstrip("_")


def _ackley(x: jax.Array) -> jax.Array:
    distance = jnp.sqrt(jnp.mean(x * x))
    ripple = jnp.mean(jnp.square(jnp.sin(math.pi * x)))
    return -20 * jnp.expm1(-0.2 * distance) - math.e * jnp.expm1(-2 * ripple)


def ackley(dimension: int = 2, half_width: float = 32.768) -> Problem:
    """Ackley (1987): a funnel with a regular grid of local optima. Optimum 0 at the origin; box usually +-32.768 or +-5."""
    return _problem(_ackley, dimension, half_width, 0.0)


def _griewank(x: jax.Array) -> jax.Array:
    root = np.sqrt(np.arange(1, x.shape[0] + 1)).astype(x.dtype)
    return jnp.sum(x * x) / 4000 + (1 - jnp.prod(jnp.cos(x / root)))


def griewank(dimension: int = 2) -> Problem:
    """Griewank (1981): a bowl with many shallow local optima. Optimum 0 at the origin; box +-600."""
    return _problem(_griewank, dimension, 600.0, 0.0)


def _rastrigin(x: jax.Array) -> jax.Array:
    return jnp.sum(x * x + 20 * jnp.square(jnp.sin(math.pi * x)))


def rastrigin(dimension: int = 2) -> Problem:
    """Rastrigin (1974): a bowl with 10**d deep local optima. Optimum 0 at the origin; box +-5.12."""
    return _problem(_rastrigin, dimension, 5.12, 0.0)


def _rosenbrock(x: jax.Array) -> jax.Array:
    return jnp.sum(100 * jnp.square(x[1:] - x[:-1] * x[:-1]) + jnp.square(1 - x[:-1]))


def rosenbrock(dimension: int = 2) -> Problem:
    """Rosenbrock (1960): a long curved valley. Optimum 0 at (1, ..., 1); box +-2.048; at least two dimensions."""
    return _problem(_rosenbrock, dimension, 2.048, 1.0, at_least=2)


def _schwefel(x: jax.Array) -> jax.Array:
    return jnp.sum(418.9828872724338 - x * jnp.sin(jnp.sqrt(jnp.abs(x))))


def schwefel(dimension: int = 2) -> Problem:
    """Schwefel (1981), 2.26: the second best optimum is far from the best. Optimum 0 at 420.9687...; box +-500.

    Subtracting 418.98 leaves a resolution of 3e-5 per dimension in float32.
    """
    return _problem(_schwefel, dimension, 500.0, 420.968746359982)


def _sphere(x: jax.Array) -> jax.Array:
    return jnp.sum(x * x)


def sphere(dimension: int = 2) -> Problem:
    """The sum of squares. Optimum 0 at the origin; box +-5.12."""
    return _problem(_sphere, dimension, 5.12, 0.0)


def _levy(x: jax.Array) -> jax.Array:
    u = (x - 1) / 4  # w - 1 in the usual notation; a shift by pi is dropped inside the squared sines
    first, last = u[0], u[-1]
    middle = jnp.sum(jnp.square(u[:-1]) * (1 + 10 * jnp.square(jnp.sin(math.pi * u[:-1] + 1))))
    return jnp.square(jnp.sin(math.pi * first)) + middle + last * last * (1 + jnp.square(jnp.sin(2 * math.pi * last)))


def levy(dimension: int = 2) -> Problem:
    """Levy, as in Laguna & Marti (2005): a bowl with a grid of local optima. Optimum 0 at (1, ..., 1); box +-10.

    With w = 1 + (x - 1)/4, the sum of sin(pi w_1)**2, of (w_i - 1)**2 (1 + 10 sin(pi w_i + 1)**2) for i < d, and of
    (w_d - 1)**2 (1 + sin(2 pi w_d)**2). In Levy & Montalvo (1985) the second sine is sin(pi w_{i+1}), and the last term
    has none; both forms are in use under one name, with one optimum.
    """
    return _problem(_levy, dimension, 10.0, 1.0)


_STYBLINSKI_TANG = -2.903534027771177  # the smallest root of 4 x**3 - 32 x + 5


def _styblinski_tang(x: jax.Array) -> jax.Array:
    a = _STYBLINSKI_TANG  # the quartic less its minimum, which is a double root
    return jnp.sum(jnp.square(x - a) * (jnp.square(x + a) + (2 * a * a - 16))) / 2


def styblinski_tang(dimension: int = 2) -> Problem:
    """Styblinski & Tang (1990): 2**d local optima, in the corners. Optimum -39.16617 d at -2.903534...; box +-5.

    Half the sum of x**4 - 16 x**2 + 5 x.
    """
    dimension = check_integer("styblinski_tang", "dimension", dimension, 1)
    value = -39.166165703771415 * dimension
    return _problem(_styblinski_tang, dimension, 5.0, _STYBLINSKI_TANG, value=value, offset=True)


def _michalewicz(x: jax.Array) -> jax.Array:
    i = np.arange(1, x.shape[0] + 1).astype(x.dtype)
    return -jnp.sum(jnp.sin(x) * jnp.sin(i * x * x / math.pi) ** 20)


def _michalewicz_optimum(dimension: int) -> tuple[np.ndarray, float]:
    """The optimum and its value, a coordinate at a time: the largest of sin(x) sin(i x**2/pi)**20 for i = 1, ..., d.

    The second factor has i humps of height 1, at x = pi sqrt((k + 1/2)/i). As sin(x) is largest at pi/2, one of the two
    humps next to pi/2 is the best. On a hump the logarithm is concave: Newton's method finds its top.
    """
    i = np.arange(1.0, dimension + 1)[:, None]
    k = np.clip(np.floor(i / 4 - 0.5) + np.arange(2.0), 0, i - 1)
    x = math.pi * np.sqrt((k + 0.5) / i)
    for _ in range(20):
        angle, rate = i * x * x / math.pi, 2 * i * x / math.pi
        slope = 1 / np.tan(x) + 20 * rate / np.tan(angle)
        bend = -1 / np.sin(x) ** 2 + 20 * (2 * i / math.pi / np.tan(angle) - (rate / np.sin(angle)) ** 2)
        x = x - slope / bend
    height = np.sin(x) * np.sin(i * x * x / math.pi) ** 20
    best = np.argmax(height, axis=1)[:, None]
    return np.take_along_axis(x, best, 1)[:, 0], -float(height.max(axis=1).sum())


def michalewicz(dimension: int = 2) -> Problem:
    """Michalewicz (1992), m = 10: d! narrow valleys. Optimum -1.8013 (d = 2), -4.6877 (5), -9.6602 (10); box [0, pi].

    Minus the sum of sin(x_i) sin(i x_i**2/pi)**(2 m). Separable, so the optimum is computed, in any dimension.
    """
    dimension = check_integer("michalewicz", "dimension", dimension, 1)
    optimum, value = _michalewicz_optimum(dimension)
    return _make(_michalewicz, Box(0.0, math.pi, shape=(dimension,)), optimum, value)


def _beale(x: jax.Array) -> jax.Array:
    x, y = x
    return jnp.square(1.5 - x * (1 - y)) + jnp.square(2.25 - x * (1 - y**2)) + jnp.square(2.625 - x * (1 - y**3))


def beale(dimension: int = 2) -> Problem:
    """Beale (1958): a flat plain with sharp peaks in the corners. Optimum 0 at (3, 0.5); box +-4.5."""
    return _plane(_beale, dimension, -4.5, 4.5, (3.0, 0.5))


def _booth(x: jax.Array) -> jax.Array:
    x, y = x
    return jnp.square(x + 2 * y - 7) + jnp.square(2 * x + y - 5)


def booth(dimension: int = 2) -> Problem:
    """Booth: a quadratic bowl with condition number 9. Optimum 0 at (1, 3); box +-10."""
    return _plane(_booth, dimension, -10.0, 10.0, (1.0, 3.0))


def _himmelblau(x: jax.Array) -> jax.Array:
    x, y = x
    return jnp.square(x * x + y - 11) + jnp.square(x + y * y - 7)


def himmelblau(dimension: int = 2) -> Problem:
    """Himmelblau (1972): four equal optima. Optimum 0 at (3, 2), one of the four; box +-5.

    The others are near (-2.805118, 3.131313), (-3.779310, -3.283186) and (3.584428, -1.848127).
    """
    return _plane(_himmelblau, dimension, -5.0, 5.0, (3.0, 2.0))


def _six_hump_camel(x: jax.Array) -> jax.Array:
    x, y = x
    return (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (4 * y**2 - 4) * y**2


def six_hump_camel(dimension: int = 2) -> Problem:
    """Six-hump camel back, Dixon & Szego (1978): two of six are the best. Optimum -1.031628 at (0.0898420, -0.7126564).

    The other is at (-0.0898420, 0.7126564); box [-3, 3] x [-2, 2].
    """
    optimum = (0.08984201310031806, -0.7126564030207396)
    return _plane(_six_hump_camel, dimension, (-3.0, -2.0), (3.0, 2.0), optimum, value=-1.0316284534898774)


def _branin(x: jax.Array) -> jax.Array:
    x, y = x
    valley = y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6
    return valley * valley + 20 * (1 - 1 / (8 * math.pi)) * jnp.square(jnp.cos(x / 2))


def branin(dimension: int = 2) -> Problem:
    """Branin (1972): three equal optima. Optimum 5/(4 pi) = 0.397887 at (pi, 2.275), one of the three.

    The others are (-pi, 12.275) and (3 pi, 2.475); box [-5, 10] x [0, 15]. With the usual constants,
    (y - 5.1/(4 pi**2) x**2 + 5/pi x - 6)**2 + 10 (1 - 1/(8 pi)) cos(x) + 10.
    """
    lower, upper = (-5.0, 0.0), (10.0, 15.0)
    return _plane(_branin, dimension, lower, upper, (math.pi, 2.275), value=5 / (4 * math.pi), offset=True)


def _easom(x: jax.Array) -> jax.Array:
    p, q = x - math.pi
    return -jnp.cos(p) * jnp.cos(q) * jnp.exp(-(p * p + q * q))


def easom(dimension: int = 2) -> Problem:
    """Easom (1990): one needle in a plain. Optimum -1 at (pi, pi); box +-100.

    The gap is not written in closed form, though one exists: an offset of -1 would round the plain, on which the tails
    of the needle are all there is to follow, to a constant.
    """
    return _plane(_easom, dimension, -100.0, 100.0, math.pi, value=-1.0)


def _goldstein_price(x: jax.Array) -> jax.Array:
    # In u and w both factors are quartics of one variable, 1 + a and 3 + b, and a and b are nowhere negative.
    x, y = x
    u, w = x + (y + 1), 2 * x - 3 * (y + 1)
    a = u * u * (36 + u * (3 * u - 20))
    b = w * w * (36 + w * (3 * w + 20))
    return a * (3 + b) + b


def goldstein_price(dimension: int = 2) -> Problem:
    """Goldstein & Price (1971): values from 3 to a million. Optimum 3 at (0, -1); box +-2.

    [1 + (x+y+1)**2 (19 - 14x + 3x**2 - 14y + 6xy + 3y**2)] [30 + (2x-3y)**2 (18 - 32x + 12x**2 + 48y - 36xy + 27y**2)].
    """
    return _plane(_goldstein_price, dimension, -2.0, 2.0, (0.0, -1.0), value=3.0, offset=True)


def _drop_wave(x: jax.Array) -> jax.Array:
    square = jnp.sum(x * x)
    # The function is smooth at the origin, the root is not: without the detour its gradient there would be NaN.
    distance = jnp.sqrt(jnp.where(square > 0, square, 1))
    ripple = jnp.where(square > 0, jnp.square(jnp.sin(6 * distance)), 0)
    return (square / 2 + 2 * ripple) / (square / 2 + 2)


def drop_wave(dimension: int = 2) -> Problem:
    """Drop-wave: rings of local optima around the best. Optimum -1 at the origin; box +-5.12.

    -(1 + cos(12 |x|))/(|x|**2/2 + 2).
    """
    return _plane(_drop_wave, dimension, -5.12, 5.12, 0.0, value=-1.0, offset=True)


def _bukin6(x: jax.Array) -> jax.Array:
    x, y = x
    # y - x**2/100 in coordinates from the optimum, of which the root would show the rounding
    return 100 * jnp.sqrt(jnp.abs((y - 1) - (x + 10) * (x - 10) / 100)) + jnp.abs(x + 10) / 100


def bukin6(dimension: int = 2) -> Problem:
    """Bukin (1997), no. 6: a curved valley, sharp as a knife. Optimum 0 at (-10, 1); box [-15, -5] x [-3, 3].

    100 sqrt|y - x**2/100| + |x + 10|/100. Off the optimum the root of the rounding of y is what float32 resolves: the
    floor of the valley is rough by up to 0.05.
    """
    return _plane(_bukin6, dimension, (-15.0, -3.0), (-5.0, 3.0), (-10.0, 1.0))

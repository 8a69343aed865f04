"""OpenAI-ES, PGPE, ARS and Guided ES: a Gaussian whose mean follows an estimated gradient, by any optimizer of `optax`.

The gradient of the expected fitness of m + sigma z with respect to m is E[f(m + sigma z) z] / sigma for a standard normal z;
the four average their samples in different ways. sigma stays as it is (but PGPE learns it, by its own gradient), and a run gets
no closer to an optimum than sigma allows: give it a schedule for that. O(lam d) a generation.

References: T. Salimans, J. Ho, X. Chen, S. Sidor & I. Sutskever, Evolution Strategies as a Scalable Alternative to
Reinforcement Learning (2017), arXiv 1703.03864, Algorithm 1. F. Sehnke, C. Osendorfer, T. Rueckstiess, A. Graves, J. Peters &
J. Schmidhuber, Parameter-exploring policy gradients, Neural Networks 23 (2010), 551-559; N. Toklu, P. Liskowski &
R. Srivastava, ClipUp, PPSN XVI (2020), 515-527, for its ranks, its optimizer and its limit on changes of sigma. H. Mania,
A. Guy & B. Recht, Simple random search provides a competitive approach to reinforcement learning, NeurIPS 2018, Algorithms 1
and 2. N. Maheswaranathan, L. Metz, G. Tucker, D. Choi & J. Sohl-Dickstein, Guided evolutionary strategies, ICML 2019,
Algorithm 1.
Departures: weight decay is the optimizer's (`optax.adamw`), normalising a simulator's states (V2 of ARS) the objective's. In
Guided ES, sigma is the standard deviation per coordinate, whose square is the average variance, and beta = d, so that the
gradient is that of OpenAI-ES where nothing guides; directions that depend on each other count once. Gradients, means and steps
stay within what can be squared.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.tree_util import Partial
from jax.typing import ArrayLike

from jaxes.bounds import Bounds, Clip
from jaxes.checks import as_number, check_choice, check_integer, check_value, describe
from jaxes.gaussian import Gaussian, GaussianState, default_lam, fitted_deviations
from jaxes.operators.matrix import mul
from jaxes.operators.optimizers import as_learning_rate, as_optimizer, check_optimizer, clipup, is_built
from jaxes.operators.selection import ranks
from jaxes.operators.shaping import SHAPINGS, shaped
from jaxes.operators.step_size import Schedule, as_schedule
from jaxes.program import Program
from jaxes.pytree import assign, pytree, static
from jaxes.space import as_space
from jaxes.strategy import StopReason

CLIP = Clip()
NORMAL = 9.0
"""Standard deviations, farther than normal numbers are drawn. (The `reach` of the CMA-ES family, which asks for the lengths of
steps, would take a fifth of the time of a generation.)"""


@pytree
class GradientState(GaussianState):
    """What a strategy that follows a gradient remembers, in units of the initial sigma."""

    optimizer: Any  # the optimizer's own state


@dataclasses.dataclass(frozen=True, eq=False)
class Gradient(Gaussian):
    """A strategy whose `_learn` estimates a gradient and returns `_followed`; `@pytree` makes it concrete.

    Args:
        space, lam_max, start: see `jaxes.gaussian.Gaussian`.
        bounds: as there; default `Clip()`, which leaves mirror images as they are.
        lam: candidates a generation, even with mirrored samples; default 4 + floor(3 ln d), one more where that is odd.
        sigma: standard deviation in the space's own units: a number, one per coordinate (d,), a pytree like a solution, or a
            schedule of the generation (in a `Schedule(...)`, its numbers are leaves). Default: 0.3 of the box's width.
        sampling: as in `Gaussian`; default "mirrored": candidates i and i + lam / 2 are mirror images of each other, or with
            lam_max 2 i and 2 i + 1.
        optimizer: a function of a learning rate that makes an `optax` optimizer (`optax.adam`, `jaxes.clipup`, your own chain),
            or an optimizer that was built already, whose numbers are hidden from sweeps. The optimizer's parameters are the
            mean (d,) in the space's own units. Arrays in a `jax.tree_util.Partial(optax.sgd, momentum=0.9)` are leaves.
        learning_rate: what that function is called with: a number, one per coordinate (d,), a pytree like a solution, or a
            schedule of the generation. Needed with any optimizer but the default one or one that was built already.
        shaping: what is averaged in the place of fitness: "centered rank", "standardized", "utilities" or "none": see
            `jaxes.operators.shaping`.

    With neither optimizer nor learning rate, the default optimizer works in units of sigma. Numbers (sigma, start, learning
    rates) are leaves: they can be swept, batched and changed without a new program.
    """

    # The best of a generation alone says little of the gradient, there is no matrix to be ill-conditioned, and a learning rate
    # may well be 0 for a while.
    IGNORED: ClassVar[tuple[StopReason, ...]] = (
        StopReason.EQUALFUNVALS,
        StopReason.TOLFUNHIST,
        StopReason.CONDITIONCOV,
        StopReason.TOLXSTAGNATION,
    )

    DEFAULT: ClassVar[Callable[..., optax.GradientTransformation]] = staticmethod(optax.adam)
    """The optimizer where none is given."""

    AVERAGES: ClassVar[bool] = False
    WIDE: ClassVar[float] = 0.3

    _: KW_ONLY
    bounds: Bounds = CLIP
    sampling: str = static(default="mirrored")
    optimizer: Any = None
    learning_rate: Any = None
    shaping: str = static(default="centered rank")

    def __post_init__(self):
        owner, sigma = type(self).__name__, self.sigma
        if callable(sigma):
            assign(self, sigma=1.0)
        if self.lam is None:
            lam = default_lam(as_space(self.space).dimension)
            assign(self, lam=lam + lam % 2 if self.sampling == "mirrored" else lam)
        super().__post_init__()
        if callable(sigma):
            assign(self, sigma=as_schedule(sigma))
            check_value(owner, "sigma", self.sigma(jnp.zeros((), jnp.int32)), lambda v: v > 0, "positive at generation 0")
        if self.sampling == "mirrored":
            check_value(owner, "lam", self.lam, lambda v: v % 2 == 0, 'even with sampling="mirrored"')
        check_choice(owner, "shaping", self.shaping, SHAPINGS)
        if self.optimizer is not None:
            assign(self, optimizer=as_optimizer(owner, self.space, self.optimizer))
        if self.learning_rate is not None:
            assign(self, learning_rate=as_learning_rate(owner, self.space, self.learning_rate))
        if self.optimizer is not None and is_built(self.optimizer) != (self.learning_rate is None):
            why = (
                "is fixed in an optimizer that was built already" if self.learning_rate is not None else "must be given with it"
            )
            raise ValueError(f"{owner}(learning_rate=...) {why}: optimizer=optax.adam, learning_rate=0.01 can be swept.")
        check_optimizer(owner, self._optimizer, self.space)

    def _typical(self, state, fitness):
        return self.average(state, fitness)  # of which the gradient is

    def _shaped(self, fitness: jax.Array) -> jax.Array:
        """(population_size,) what is averaged in the place of fitness."""
        return shaped(fitness, self.shaping, None if self.lam_max is None else self.lam)

    def _weights(self, fitness: jax.Array) -> jax.Array:
        """(population_size,) of candidates in the average of shaped fitness times perturbation."""
        return self._shaped(fitness) / self._number(fitness.dtype)

    def _default_rate(self) -> Any:
        """The learning rate of the default optimizer, in units of sigma.

        Adam moves every coordinate by about the learning rate; the cosine of the step with the gradient is about
        sqrt(lam / (lam + d)). Near an optimum the mean then stays at a distance of learning rate * sqrt(d) / 2 / cosine: here,
        a quarter of the length of a sample, sigma sqrt(d).
        """
        lam = self._number(self.space.dtype)
        return (lam / (lam + self.space.dimension)) ** 0.5 / 2

    def _optimizer(self) -> optax.GradientTransformation:
        if self.optimizer is not None and is_built(self.optimizer):
            return self.optimizer()
        make = self.DEFAULT if self.optimizer is None else self.optimizer
        rate = self.learning_rate
        if rate is None and isinstance(self.sigma, Schedule):
            return make(lambda count: self._default_rate() * self._size_at(count))
        if rate is None:
            return make(self._default_rate())
        if isinstance(rate, Schedule):
            return make(lambda count: rate(count).astype(self.space.dtype))
        is_number = jax.tree_util.all_leaves([rate]) and np.shape(rate) == ()
        return make(rate if is_number else self.space.flatten(rate, "learning_rate"))

    def _scale(self) -> Any:
        """(d,) or 1.0: the unit of the mean in units of the optimizer's parameters."""
        return 1.0 if self.optimizer is None and self.learning_rate is None else self._unit()

    def _unit(self):
        if isinstance(self.sigma, Schedule):
            return self.sigma.scale(self.space, (), jnp.zeros((), jnp.int32))
        return super()._unit()

    def _begin(self, state):
        with jax.numpy_dtype_promotion("standard"):
            return GradientState(**vars(state), optimizer=self._optimizer().init(self._scale() * state.mean))

    def _size_at(self, generation: jax.Array) -> jax.Array:
        """() the standard deviation in a generation."""
        if isinstance(self.sigma, Schedule):
            return self.sigma.scale(self.space, (), generation)[0] / self._unit()[0]
        return jnp.ones((), self.space.dtype)

    def _size(self, state: Any) -> jax.Array:
        """() the standard deviation of what is sampled."""
        return self._resolved(state, state.generation)

    def _resolved(self, state: Any, generation: jax.Array) -> jax.Array:
        """() the standard deviation in a generation: of a schedule, not less than rounding resolves around the mean."""
        size, info = self._size_at(generation), jnp.finfo(state.mean.dtype)
        if not isinstance(self.sigma, Schedule):
            return size
        return jnp.maximum(size, jnp.maximum(info.eps * jnp.abs(state.mean).max(), float(info.tiny) ** 0.25))

    def rescaled(self, factor):
        if isinstance(self.sigma, Schedule):
            return dataclasses.replace(self, sigma=self.sigma.times(factor))
        return super().rescaled(factor)

    def _fitted(self, state, steps, width):
        return state  # sigma is what the gradient is smoothed by, not how uncertain the mean is

    def _points(self, state, z):
        return state.mean[None, :] + self._size(state) * z

    def _deviations(self, state):
        return jnp.broadcast_to(self._size(state), state.mean.shape)

    def _steps(self, state: Any, u: jax.Array) -> jax.Array:
        """(lam, d) from the mean to points, in each coordinate no farther than samples may be."""
        farthest = NORMAL * self._deviations(state)[None, :]
        return jnp.clip(u - state.mean[None, :], -farthest, farthest)

    def _followed(self, state: Any, gradient: jax.Array, **learnt: Any) -> Any:
        """The state after a step of the optimizer against a gradient (d,), in units of its parameters."""
        scale, limit = self._scale(), float(jnp.finfo(gradient.dtype).max) ** 0.25
        gradient = jnp.clip(gradient, -limit, limit)
        with jax.numpy_dtype_promotion("standard"):
            updates, memory = self._optimizer().update(gradient, state.optimizer, scale * state.mean)
        memory = jax.tree.map(
            lambda new, old: new if new.dtype == old.dtype else new.astype(old.dtype), memory, state.optimizer
        )
        mean = jnp.clip(state.mean + updates.astype(gradient.dtype) / scale, -(limit**2), limit**2)
        return dataclasses.replace(state, mean=mean, optimizer=memory, **learnt)


@pytree
class OpenAIES(Gradient):
    """OpenAI's evolution strategy (Salimans et al. 2017): the average of shaped fitness times perturbation, by Adam.

    Args:
        space, lam, lam_max, sigma, start, bounds, sampling, optimizer, learning_rate, shaping: see `Gradient`. Default: Adam at
            sqrt(lam / (lam + d)) / 2 sigma; centered ranks, as in the paper.
    """

    def _learn(self, state, u, fitness):
        variance = jnp.square(self._size(state))
        return self._followed(state, mul(self._weights(fitness), self._steps(state, u)) / variance / self._scale())


@pytree
class PGPEState(GradientState):
    """What PGPE learnt, in units of the initial sigma."""

    deviations: jax.Array  # (d,)


@pytree
class PGPE(Gradient):
    """Policy gradients with parameter-based exploration (Sehnke et al. 2010), symmetric, by ClipUp (Toklu et al. 2020).

    Args:
        space, lam, lam_max, start, bounds, sampling, optimizer, learning_rate, shaping: see `Gradient`. Default: ClipUp at
            sqrt(d) / 30 sigma, with a velocity of at most sqrt(d) / 15 sigma: a fifteenth of the length of a sample, as in
            Toklu's experiments; centered ranks.
        sigma: initial standard deviation: a number, one per coordinate (d,), or a pytree like a solution.
        sigma_learning_rate: of the standard deviations; default 0.1, as in Toklu's experiments; 0 leaves them as they are.
        sigma_max_change: the largest change of a standard deviation in a generation, as a share of it; default 0.2, likewise.
    """

    DEFAULT = staticmethod(clipup)

    _: KW_ONLY
    sigma_learning_rate: ArrayLike = 0.1
    sigma_max_change: ArrayLike = 0.2

    def __post_init__(self):
        if callable(self.sigma):
            raise TypeError(f"PGPE(sigma=...) must be numbers, as sigma is learnt from there, got {self.sigma!r}.")
        super().__post_init__()
        for name in ("sigma_learning_rate", "sigma_max_change"):
            assign(self, **{name: as_number("PGPE", name, getattr(self, name), self.space.dtype)})
        check_value("PGPE", "sigma_learning_rate", self.sigma_learning_rate, lambda v: v >= 0, "at least 0")
        check_value("PGPE", "sigma_max_change", self.sigma_max_change, lambda v: (v >= 0) & (v < 1), "from 0 to below 1")

    def _default_rate(self):
        return math.sqrt(self.space.dimension) / 30

    def _begin(self, state):
        return PGPEState(**vars(super()._begin(state)), deviations=jnp.ones_like(state.mean))

    def _points(self, state, z):
        return state.mean[None, :] + state.deviations[None, :] * z

    def _learn(self, state, u, fitness):
        # The papers' learning rates are proportional to the variance, which takes the division by it out of both gradients.
        # Their halved sums and differences of pairs are sums over all; that the weights' sum is zero takes the place of the
        # baseline, and of subtracting the variance from the squares.
        weights, step, old = self._weights(fitness), self._steps(state, u), state.deviations
        change = self.sigma_learning_rate * mul(weights, jnp.square(step)) / old
        most, info = self.sigma_max_change * old, jnp.finfo(old.dtype)
        deviations = old - jnp.clip(change, -most, most)
        least = jnp.maximum(info.eps * jnp.abs(state.mean), float(info.tiny) ** 0.5)  # what rounding resolves
        deviations = jnp.clip(deviations, least, float(info.max) ** 0.25)
        return self._followed(state, self._scale() * mul(weights, step), deviations=deviations)

    def _fitted(self, state, steps, width):
        scale, deviations = fitted_deviations(steps, width)
        return dataclasses.replace(state, deviations=scale * deviations)

    def _deviations(self, state):
        return state.deviations


@pytree
class ARS(Gradient):
    """Augmented random search (Mania et al. 2018): differences of the best pairs, over their deviation, by SGD.

    Args:
        space, lam, lam_max, sigma, start, bounds, optimizer, learning_rate, shaping: see `Gradient`. Default: gradient descent
            at sqrt(d) b / (b + d) / 2 sigma, b being elite. Near an optimum the mean then stays within about half of the
            length of a sample, sigma sqrt(d); most of what the paper has tuned for its tasks is one to three times that rate.
            Shaping "none", as in the paper.
        sampling: "mirrored".
        elite: how many of the lam / 2 directions count, those with the fittest of both samples; default half of them, at least
            one. All of them is the paper's V1.
    """

    DEFAULT = staticmethod(optax.sgd)

    _: KW_ONLY
    elite: int | None = static(default=None)
    shaping: str = static(default="none")

    def __post_init__(self):
        if self.elite is not None:
            assign(self, elite=check_integer("ARS", "elite", self.elite, at_least=1))
        super().__post_init__()
        check_choice("ARS", "sampling", self.sampling, ("mirrored",))
        if self.elite is not None and self.elite > self.population_size // 2:
            most = "lam" if self.lam_max is None else "lam_max"
            raise ValueError(f"ARS(elite=...) must be at most {most}/2={self.population_size // 2}, got {self.elite}.")

    @property
    def directions(self) -> Any:
        """How many count: an int, or () where lam is a value."""
        if self.lam_max is None:
            return max(1, self.lam // 4) if self.elite is None else self.elite
        pairs = self.lam // 2
        count = jnp.maximum(1, pairs // 2) if self.elite is None else jnp.minimum(self.elite, pairs)
        return count.astype(self.space.dtype)

    def enlarged(self, factor):
        elite = None if self.elite is None else factor * self.elite
        return dataclasses.replace(self, lam=factor * self.lam, elite=elite)

    def _default_rate(self):
        return math.sqrt(self.space.dimension) * self.directions / (self.directions + self.space.dimension) / 2

    def _learn(self, state, u, fitness):
        f = self._shaped(fitness)
        f = f / 8  # XLA may multiply by the inverse of a divisor, and takes that of the largest numbers for 0
        f = f / jnp.maximum(jnp.abs(f).max(), jnp.finfo(f.dtype).tiny)  # whose square is a number
        (plus, minus), (up, down) = self._pairs(f), self._pairs(self._steps(state, u))
        best = jnp.minimum(*self._pairs(fitness))
        best = jnp.where(jnp.arange(len(best), dtype=jnp.int32) < self.lam // 2, best, jnp.inf)  # of an odd lam, one is alone
        share = jnp.where(ranks(best).astype(f.dtype) < self.directions, 1 / jnp.asarray(self.directions, f.dtype), 0)
        center = jnp.sum(share * (plus + minus)) / 2
        deviation = jnp.sqrt(jnp.sum(share * (jnp.square(plus - center) + jnp.square(minus - center))) / 2)
        weights = share * (plus - minus) / jnp.where(deviation > 0, deviation, 1)
        return self._followed(state, mul(weights, (up - down) / 2) / self._size(state))

    def _pairs(self, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Two halves (population_size // 2, ...) of rows (population_size, ...): those of mirror images."""
        half = len(rows) // 2
        return (rows[:half], rows[half:]) if self.lam_max is None else (rows[: 2 * half : 2], rows[1 : 2 * half : 2])


@pytree
class GuidedESState(GradientState):
    """What Guided ES learnt, in units of the initial sigma."""

    guides: jax.Array  # (k, d) the last directions, the newest last
    basis: jax.Array  # (k, d) an orthonormal basis of what they span, and rows of zeros


@pytree
class GuidedES(Gradient):
    """Guided evolution strategy (Maheswaranathan et al. 2019): searches farther where surrogate gradients lead, by Adam.

    The covariance matrix is sigma**2 (alpha I + (1 - alpha) d / k U U^T) with the subspace U of the last k surrogate gradients:
    of what `surrogate` returns, or of what you tell by hand with `state = strategy.guide(state, gradient)` before `ask`. It is
    sigma**2 I as long as nothing guides.

    Args:
        space, lam, lam_max, sigma, start, bounds, sampling, optimizer, learning_rate, shaping: see `Gradient`. Default: Adam,
            as OpenAIES. Shaping "none", as in the paper.
        surrogate: a function of a solution that returns a pytree like it, which tends to point where the gradient does, such
            as the `jax.grad` of a model of the objective. It is called at the mean, once a generation. Arrays in a
            `jax.tree_util.Partial` are leaves.
        subspace: k, from 1 to d; default 1.
        alpha: share of the variance that is not along the subspace, above 0 and at most 1; default 0.5, as in the paper.
    """

    _: KW_ONLY
    surrogate: Any = None
    subspace: int = static(default=1)
    alpha: ArrayLike = 0.5
    shaping: str = static(default="none")

    def __post_init__(self):
        super().__post_init__()
        assign(self, subspace=check_integer("GuidedES", "subspace", self.subspace, at_least=1))
        if self.subspace > self.space.dimension:
            raise ValueError(f"GuidedES(subspace=...) must be at most d={self.space.dimension}, got {self.subspace}.")
        assign(self, alpha=as_number("GuidedES", "alpha", self.alpha, self.space.dtype))
        check_value("GuidedES", "alpha", self.alpha, lambda v: (v > 0) & (v <= 1), "above 0 and at most 1")
        if self.surrogate is not None and not isinstance(self.surrogate, Partial):
            if not callable(self.surrogate):
                raise TypeError(f"GuidedES(surrogate=...) must be a function of a solution, got {self.surrogate!r}.")
            assign(self, surrogate=Partial(self.surrogate))
        if self.surrogate is not None:
            x = jax.ShapeDtypeStruct((self.space.dimension,), self.space.dtype)
            self._check_gradient("GuidedES(surrogate=...) must return", jax.eval_shape(self._surrogate, x))

    def guide(self, state: GuidedESState, gradient: Any) -> GuidedESState:
        """The state for `ask` whose newest direction is a surrogate gradient: a pytree like a solution."""
        self._check_gradient("GuidedES.guide expected", gradient)
        return _guide(self, state, gradient)

    def _check_gradient(self, must: str, gradient: Any) -> None:
        solution = jax.eval_shape(self.space.decode, jax.ShapeDtypeStruct((self.space.dimension,), self.space.dtype))
        if describe(gradient) != describe(solution):
            raise ValueError(f"{must} a gradient of shapes {describe(solution)}, as a solution has, got {describe(gradient)}.")

    def _surrogate(self, x):
        return self.surrogate(self.space.decode(x))

    def _guided(self, state, gradient):
        """The state whose newest direction is a user's gradient at its mean, in the place of the oldest."""
        solution, pull = jax.vjp(self.space.decode, self.space.encode(self.mean(state)))
        (flat,) = pull(jax.tree.map(lambda g, leaf: jnp.asarray(g).astype(leaf.dtype), gradient, solution))
        newest = jnp.where(jnp.isfinite(flat).all(), flat * self._unit(), 0)[None, :]
        guides = jnp.concatenate([state.guides[1:], newest])
        return dataclasses.replace(state, guides=guides, basis=_basis(guides))

    def _guided_by_surrogate(self, state):
        return state if self.surrogate is None else self._guided(state, self.surrogate(self.mean(state)))

    def _begin(self, state):
        zeros = jnp.zeros((self.subspace, self.space.dimension), state.mean.dtype)
        begun = GuidedESState(**vars(super()._begin(state)), guides=zeros, basis=zeros)
        return self._guided_by_surrogate(begun)

    def _shares(self, state):
        """() variances across and along the subspace."""
        known = jnp.sum(jnp.square(state.basis))  # its dimension
        across = jnp.where(known > 0.5, self.alpha, 1)
        return across, across + (1 - across) * self.space.dimension / jnp.maximum(known, 1)

    def _points(self, state, z):
        across, along = self._shares(state)
        more = mul((jnp.sqrt(along) - jnp.sqrt(across)) * mul(z, state.basis.T), state.basis)
        return state.mean[None, :] + self._size(state) * (jnp.sqrt(across) * z + more)

    def _learn(self, state, u, fitness):
        gradient = mul(self._weights(fitness), self._steps(state, u)) / jnp.square(self._size(state))
        return self._guided_by_surrogate(self._followed(state, gradient / self._scale()))

    def _deviations(self, state):
        across, along = self._shares(state)
        return self._size(state) * jnp.sqrt(across + (along - across) * jnp.sum(jnp.square(state.basis), axis=0))


@Program
def _guide(strategy: GuidedES, state: GuidedESState, gradient: Any) -> GuidedESState:
    return strategy._guided(state, gradient)


def _basis(directions: jax.Array) -> jax.Array:
    """(k, d) an orthonormal basis of what directions (k, d) span, and zeros in the place of those that depend on earlier ones.

    By the Gram-Schmidt process, whose second pass takes away what rounding left in the first.
    """
    eps = float(jnp.finfo(directions.dtype).eps)

    def unit(x):
        x = x / jnp.where(x.any(), jnp.abs(x).max(), 1)  # whose square neither overflows nor vanishes
        return x / jnp.where(x.any(), jnp.linalg.norm(x), 1)

    def orthogonal(x, basis):
        return x - mul(mul(basis, x), basis)

    def add(i, basis):
        rest = orthogonal(unit(directions[i]), basis)
        rest = jnp.where(jnp.linalg.norm(rest) > 100 * eps, orthogonal(unit(rest), basis), 0)
        return basis.at[i].set(unit(rest))

    return lax.fori_loop(0, directions.shape[0], add, jnp.zeros_like(directions))

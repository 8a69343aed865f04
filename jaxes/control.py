"""Step-size control of strategies whose samples are standard normal vectors, multiplied by a step size among others.

- "csa", cumulative step-size adaptation: by the length of the path of the mean, compared with that of a random walk. In
  coordinates in which a side of the box holds the mean, there is no path, however well it goes in the others: those alone are
  compared (where axes are turned, about so). Else, steps shrink while there is a way to go, and a corner is found late. Not in
  populations larger than those of which all candidates are pressed onto sides: of many optima, shrinking finds better ones.
- "tpa", two-point adaptation: the first two candidates lie ahead of the mean and behind it, along its last step in coordinates
  in which samples are standard normal; which of them ranks better decides.
- "msr", the median success rule: by how many candidates are better than what three tenths of the last generation reached.

The latter two have a success of a generation, from -1 to 1, an average of it and a damping of their own (of "csa", see eq. 44
of the tutorial that `jaxes.CMAES` follows):
    s <- 0.7 s + 0.3 success,    ln sigma <- ln sigma + s / damping
    "tpa": success = (rank behind - rank ahead) / (lam - 1),    damping = 4 - 3 / d
    "msr": success = 2 (candidates better than what was reached) / lam - 1,    damping = 2 - 2 / d

References: N. Hansen, A. Atamna & A. Auger, How to assess step-size adaptation mechanisms in randomised search, PPSN 2014, with
the damping of Y. Akimoto & N. Hansen, Projection-based restricted covariance matrix adaptation for high dimension, GECCO 2016
("tpa"). O. Ait Elhara, A. Auger & N. Hansen, A median success rule for non-elitist evolution strategies, GECCO 2013 ("msr"),
where the tenths fall between two candidates weighted as pycma does.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import KW_ONLY
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxes.bounds import PRESSED
from jaxes.checks import check_choice, check_value
from jaxes.gaussian import Gaussian
from jaxes.pytree import pytree, static
from jaxes.settings import share_of_width

RATE = 0.3
"""How fast the average of success forgets."""

REACHED = 0.3
"""The share of a generation that sets what the next one is compared with, by the median success rule."""

WIDE = 0.5
"""Of the box's width: where all standard deviations exceed that, success is no reason to grow. Candidates are moved onto the
sides then, and those ahead of the mean to a better corner than those behind it, however long the steps are."""


@pytree
class Control:
    """What control by success remembers."""

    success: jax.Array  # () of the last generations, on average: from -1 to 1
    before: jax.Array  # what the next one is compared with: the mean's last step (d,), 0 at first, or two fitness values (2,)


@dataclasses.dataclass(frozen=True, eq=False)
class Controlled(Gaussian):
    """A strategy that asks `_growth` how its step size grows."""

    CONTROLS: ClassVar[tuple[str, ...]] = ("csa", "tpa", "msr")
    """What `control` may be."""

    _: KW_ONLY
    control: str = static(default="csa")

    def __post_init__(self):
        owner = type(self).__name__
        check_choice(owner, "control", self.control, self.CONTROLS)
        super().__post_init__()
        if self.control == "tpa":  # which leaves none but its two candidates otherwise
            check_value(owner, "lam", self.lam, lambda v: v >= 3, 'at least 3 with control="tpa"')

    def _uncontrolled(self, mean):
        if self.control == "csa":
            return None
        zeros = jnp.zeros_like(mean)
        return Control(zeros[0], zeros if self.control == "tpa" else jnp.zeros(2, mean.dtype))

    def _aimed(self, state, z):
        if self.control != "tpa":
            return z
        step, row = self._ahead(state), jnp.arange(len(z), dtype=jnp.int32)[:, None]
        length = jnp.linalg.norm(step)
        ahead = jnp.linalg.norm(z[0]) / jnp.maximum(length, float(jnp.finfo(z.dtype).tiny) ** 0.5) * step
        return jnp.where((row < 2) & (length > 0), jnp.where(row == 0, 1, -1) * ahead[None, :], z)

    def _free(self, mean: jax.Array) -> jax.Array:
        """(d,) bool, in which coordinates a path to the mean (d,) tells of the step size: all, if a side holds it in all, or
        if the population is large."""
        held = self.bounds.held(self._unit() * mean, *self.space.bounds()) & (self.lam <= PRESSED)
        return ~held | jnp.all(held)

    def _ahead(self, state: Any) -> jax.Array:
        """(d,) the mean's last step, in coordinates in which samples are standard normal."""
        return state.control.before

    def _growth(self, state: Any, by_path: Any, order: jax.Array, fitness: jax.Array, step: jax.Array) -> tuple[jax.Array, Any]:
        """By how much the logarithm of the step size grows, and what is remembered.

        Args:
            by_path: () what cumulative step-size adaptation says, where that is a choice.
            order, fitness: (lam,) ranks and fitness.
            step: (d,) the mean's, of which `_ahead` makes a direction.
        """
        if self.control == "csa":
            return jnp.minimum(by_path, 1), None
        d, lam, old = self.space.dimension, jnp.asarray(self.lam, fitness.dtype), state.control
        if self.control == "tpa":
            seen, damping, before = (order[1] - order[0]).astype(fitness.dtype) / (lam - 1), 4 - 3 / d, step
            known = jnp.any(old.before != 0)
        else:
            place = REACHED * lam
            low, high = jnp.floor(place), jnp.ceil(place)
            reached = (fitness <= old.before[1]), (fitness < old.before[0])
            upper, lower = (jnp.sum(better & (order < self.lam), dtype=fitness.dtype) for better in reached)
            seen = 2 * ((place - low) * upper + (1 - place + low) * lower) / lam - 1
            damping = 2 - 2 / max(d, 2)
            before = jnp.stack([jnp.min(fitness, where=order >= at.astype(jnp.int32), initial=math.inf) for at in (low, high)])
            known = state.generation > 0
        success = jnp.where(known, old.success + RATE * (seen - old.success), 0)
        wide = jnp.all(self._deviations(state) * self._unit() > share_of_width(self.space, WIDE))
        success = jnp.where(wide, jnp.minimum(success, 0), success)
        return success / damping, Control(success, before)

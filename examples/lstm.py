"""Tunes an LSTM on a real time series, with all candidates of a generation trained at once.

The series is the yearly sunspot number, 1700 to 2008, forecast one year ahead. An evolution strategy searches dropout,
learning rate and hidden size, and to evaluate a candidate is to train an LSTM. The objective below trains one; `jaxes`
maps it over the population by `vmap` inside its compiled loop, so a generation is a single batched training with optax.

The result is trained again from new seeds and compared, on years that no choice has seen, with forecasting no change, a
linear autoregression, an untuned LSTM, and random search with as many evaluations. Three hyperparameters are few enough
for random search to do well: expect a tie with it, a clear gain over the untuned LSTM, and a narrow one over the
autoregression.

    pip install "jaxes[all]" statsmodels
    python examples/lstm.py                    # --quick to only see it run, --plot FILE for a picture
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from statsmodels.datasets import sunspots

import jaxes

WINDOW = 16  # years that a forecast is made from, about one and a half solar cycles
BATCH = 32
MAX_HIDDEN = 24

SPACE = {
    "dropout": jaxes.Box(0.0, 0.6),
    "learning_rate": jaxes.Box(1e-4, 1e-1, scale="log"),
    "hidden": jaxes.Box(2.0, float(MAX_HIDDEN)),
}
# The standard deviation of mutations, each in the unit of its hyperparameter. On a log scale that is the logarithm: a
# typical mutation multiplies or divides the learning rate by exp(0.5) = 1.6.
SIGMA = {"dropout": 0.05, "learning_rate": 0.5, "hidden": 2.0}
UNTUNED = {"dropout": 0.2, "learning_rate": 1e-3, "hidden": 16.0}  # Adam's customary rate, and guesses


def load():
    """The parts of the series as (windows, next values), by name; the years forecast in the test; the unit of a value."""
    data = sunspots.load_pandas().data
    year, value = data["YEAR"].to_numpy(int), data["SUNACTIVITY"].to_numpy(np.float32)
    # Parts follow each other in time, and the scale is that of the training years: all else would look into the future.
    past = value[year < 1900]
    value = (value - past.mean()) / past.std()
    windows = np.lib.stride_tricks.sliding_window_view(value, WINDOW)[:-1]
    targets, year = value[WINDOW:], year[WINDOW:]

    def part(rows):
        return jnp.asarray(windows[rows]), jnp.asarray(targets[rows])

    parts = {
        "train": part(year < 1900),
        "validation": part((year >= 1900) & (year < 1950)),
        "known": part(year < 1950),  # both, to train on before the test
        "test": part(year >= 1950),
    }
    return parts, year[year >= 1950], past.std()


def unit_mask(hidden):
    """(MAX_HIDDEN,): 1 for the units that a candidate has, 0 for the others.

    One program trains all candidates, and its arrays cannot change shape with them: every network is allocated with the
    maximum number of units. Those beyond the candidate's size output zero at every step. Nothing then depends on their
    weights, whose gradients are zero and which Adam leaves alone, so the rest is exactly an LSTM of the smaller size.
    """
    return (jnp.arange(MAX_HIDDEN) < jnp.round(hidden)).astype(float)


def initialise(key, mask):
    shapes = {"input": (4 * MAX_HIDDEN,), "recurrent": (MAX_HIDDEN, 4 * MAX_HIDDEN), "output": (MAX_HIDDEN,)}
    keys = dict(zip(shapes, jax.random.split(key, len(shapes)), strict=True))
    limit = 1 / jnp.sqrt(mask.sum())  # of the units that are there
    params = {name: jax.random.uniform(keys[name], shapes[name], minval=-limit, maxval=limit) for name in shapes}
    # A forget gate that begins open lets gradients reach the first years of the window.
    gate_bias = jnp.zeros((4, MAX_HIDDEN)).at[1].set(1.0).reshape(-1)
    return params | {"gate_bias": gate_bias, "output_bias": jnp.zeros(())}


def forecast(params, mask, windows, dropout_scale=1.0):
    """(n,) next values from windows (n, WINDOW)."""

    def cell(state, x):
        h, c = state
        gates = x[:, None] * params["input"] + h @ params["recurrent"] + params["gate_bias"]
        i, f, o, g = jnp.split(gates, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = mask * jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), None

    zeros = jnp.zeros((len(windows), MAX_HIDDEN))
    (h, _), _ = lax.scan(cell, (zeros, zeros), windows.T)
    return (h * dropout_scale) @ params["output"] + params["output_bias"]


def train_and_forecast(candidate, past, windows, key, steps):
    """Forecasts (n,) from windows (n, WINDOW), by an LSTM after some steps of Adam on a past part of the series."""
    inputs, targets = past
    mask, keep = unit_mask(candidate["hidden"]), 1 - candidate["dropout"]
    # The learning rate is an array, different in every lane of the batch: optax needs nothing special for that.
    optimiser = optax.adam(candidate["learning_rate"])

    def loss(params, rows, key):
        dropout_scale = jax.random.bernoulli(key, keep, (BATCH, MAX_HIDDEN)) / keep
        return jnp.mean((forecast(params, mask, inputs[rows], dropout_scale) - targets[rows]) ** 2)

    def step(carry, key):
        params, state = carry
        choose, drop = jax.random.split(key)
        rows = jax.random.randint(choose, (BATCH,), 0, len(targets))
        updates, state = optimiser.update(jax.grad(loss)(params, rows, drop), state)
        return (optax.apply_updates(params, updates), state), None

    begin, key = jax.random.split(key)
    params = initialise(begin, mask)
    (params, _), _ = lax.scan(step, (params, optimiser.init(params)), jax.random.split(key, steps))
    return forecast(params, mask, windows)


def validation_error(candidate, parts, key, steps):
    """The objective. If the training of a candidate diverges it is NaN, which jaxes counts as the worst."""
    windows, targets = parts["validation"]
    return jnp.mean((train_and_forecast(candidate, parts["train"], windows, key, steps) - targets) ** 2)


def tune(objective, parts, generations, lam, seed):
    """The hyperparameters that the evolution strategy arrives at, and its `Result`."""
    # The same hyperparameters score differently with every seed. Comma selection forgets the parents, so a lucky score
    # cannot survive for longer than a generation; selection="plus" would need reevaluate=True. All children start from
    # the mean of the parents, in which what was luck of one is averaged out.
    strategy = jaxes.ES(SPACE, mu=lam // 4, lam=lam, sigma=SIGMA, recombination="intermediate")
    result = jaxes.minimize(objective, strategy=strategy, args=parts, stochastic=True, generations=generations, key=seed)
    # `result.solution` is the luckiest training of the whole run. The mean of the last parents is a better estimate.
    return strategy.space.decode(result.state.parents.mean(axis=0)), result


def random_search(objective, parts, evaluations, at_once, seed):
    """The best of uniform candidates, and the errors of all."""
    draw, key = jax.random.split(jax.random.key(seed))
    candidates, keys = jaxes.as_space(SPACE).sample(draw, evaluations), jax.random.split(key, evaluations)

    @jax.jit
    def evaluate(candidates, keys):
        return lax.map(lambda one: objective(one[0], parts, one[1]), (candidates, keys), batch_size=at_once)

    errors = np.asarray(evaluate(candidates, keys))
    best = np.nanargmin(errors)
    return jax.tree.map(lambda leaf: leaf[best], candidates), errors


@functools.partial(jax.jit, static_argnames="steps")
def lstm(past, windows, candidate, keys, steps):
    """Forecasts (seeds, n) of one candidate trained from several seeds."""
    return jax.vmap(lambda key: train_and_forecast(candidate, past, windows, key, steps))(keys)


def no_change(past, windows):
    return windows[None, :, -1]


def linear_autoregression(past, windows):
    inputs, targets = past
    coefficients, *_ = jnp.linalg.lstsq(jnp.c_[inputs, jnp.ones(len(inputs))], targets)
    return (jnp.c_[windows, jnp.ones(len(windows))] @ coefficients)[None, :]


def mean_and_error(values):
    mean = f"{values.mean():.3f}"
    return f"{mean} +- {values.std(ddof=1) / len(values) ** 0.5:.3f}" if len(values) > 1 else mean


def plot(path, year, truth, forecasts, result, errors):
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    left.plot(year, truth, "k", label="sunspots")
    left.plot(year, forecasts.mean(axis=0), "C0", label="LSTM tuned by the ES, mean of seeds")
    left.fill_between(year, *np.quantile(forecasts, [0.1, 0.9], axis=0), color="C0", alpha=0.3, linewidth=0)
    left.set(xlabel="year", ylabel="deviations from the training mean", title="one-year-ahead forecast of the test years")
    evaluations = result.history.generation * result.population_size
    right.plot(evaluations, result.history.population_mean, "C0", label="ES, mean of the generation")
    right.plot(evaluations, result.history.best, "C0--", label="ES, luckiest so far")
    right.plot(np.arange(1, len(errors) + 1), np.fmin.accumulate(errors), "C1--", label="random search, luckiest so far")
    right.set(xlabel="evaluations", ylabel="validation error", yscale="log", title="convergence")
    left.legend()
    right.legend()
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny settings, which tune nothing")
    parser.add_argument("--plot", metavar="FILE", help="save a picture of forecast and convergence")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    steps, lam, generations, seeds = (20, 8, 3, 3) if options.quick else (500, 24, 10, 16)

    parts, year, unit = load()
    objective = functools.partial(validation_error, steps=steps)
    print(f"{generations} generations of {lam} LSTMs, {steps} steps of Adam each")
    tuned, result = tune(objective, parts, generations, lam, options.seed)
    print(f"random search, {result.evaluations} evaluations")
    sampled, errors = random_search(objective, parts, int(result.evaluations), lam, options.seed)

    keys = jax.random.split(jax.random.key(options.seed + 1), seeds)
    candidates = {"LSTM, untuned": jax.tree.map(jnp.float32, UNTUNED), "LSTM, random search": sampled, "LSTM, ES": tuned}
    methods = {"no change": no_change, "linear autoregression": linear_autoregression}
    methods |= {name: functools.partial(lstm, candidate=c, keys=keys, steps=steps) for name, c in candidates.items()}

    (windows, truth), (test_windows, test_truth) = parts["validation"], parts["test"]
    print(f"\n{'forecast':22} {'dropout':>7} {'rate':>8} {'hidden':>6} {'validation MSE':>18} {'test RMSE, sunspots':>20}")
    for name, method in methods.items():
        validation = jnp.mean((method(parts["train"], windows) - truth) ** 2, axis=1)
        forecasts = method(parts["known"], test_windows)
        test = unit * jnp.sqrt(jnp.mean((forecasts - test_truth) ** 2, axis=1))
        c = candidates.get(name)
        settings = f"{c['dropout']:7.2f} {c['learning_rate']:8.1e} {round(float(c['hidden'])):6}" if c else ""
        print(f"{name:22} {settings:23} {mean_and_error(validation):>18} {mean_and_error(test):>20}")
    print(f"\n+- is the standard error over {seeds} trainings with new seeds, not over runs of the tuners.")
    print(f"Luckiest validation MSE while tuning: {result.fitness:.3f} (ES), {np.nanmin(errors):.3f} (random search).")
    if options.plot:
        plot(options.plot, year, test_truth, forecasts, result, errors)  # forecasts of the last method, the ES


if __name__ == "__main__":
    main()

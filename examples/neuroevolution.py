"""Evolves the weights of a neural controller: four strategies on a task of gymnax, over many seeds, with intervals.

A candidate is a small network, as a pytree, and to evaluate it is to play a few episodes from random beginnings. Population x
episodes x seeds are played at once, in one compiled program.

What is compared is the policy at the mean of the search distribution, on new episodes. The candidate with the best return ever
seen, `result.solution`, was mostly lucky. Every strategy begins at the network of zeros with the same standard deviation; all
else is its default. `--evosax` adds evosax' strategies, with as many episodes and their own defaults: equals for SNES and
CMA-ES, while the steps of its Open_ES and PGPE are fixed lengths, meant to be tuned, where those of jaxes follow sigma.

    pip install "jaxes[plot]" gymnax
    python examples/neuroevolution.py                      # --quick to only see it run, --evosax for the peer beside it
    python examples/neuroevolution.py --task Acrobot-v1
"""

import argparse
import functools
from pathlib import Path

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import jaxes
from jaxes.analysis.table import Table

TASKS = ("CartPole-v1", "Acrobot-v1", "Pendulum-v1", "MountainCarContinuous-v0")
HIDDEN = 16
SIGMA = 1.0  # of every weight: tanh of a sum of a few such is neither flat nor a step. It is evosax' default, too.
STRATEGIES = {"OpenAIES": "Open_ES", "PGPE": "PGPE", "SNES": "SNES", "CMAES": "CMA_ES"}  # and their names in evosax


def network(task):
    """The space of the weights of a network for a task, a pytree without bounds."""
    env, params = gymnax.make(task)
    inputs, actions = env.observation_space(params).shape[0], env.action_space(params)
    outputs = env.num_actions if is_discrete(actions) else actions.shape[0]
    shapes = {"input": (inputs, HIDDEN), "input bias": (HIDDEN,), "output": (HIDDEN, outputs), "output bias": (outputs,)}
    return jaxes.as_space({name: jaxes.Box(-jnp.inf, jnp.inf, shape=shape) for name, shape in shapes.items()})


def is_discrete(actions):
    return isinstance(actions, gymnax.environments.spaces.Discrete)


def act(policy, observation, actions):
    """The network's action: the largest output's, or the outputs squeezed into the range of a continuous action."""
    # Every candidate has weights of its own, so there is no matrix product to be had; sums are what XLA fuses.
    hidden = jnp.tanh((observation[:, None] * policy["input"]).sum(axis=0) + policy["input bias"])
    output = (hidden[:, None] * policy["output"]).sum(axis=0) + policy["output bias"]
    if is_discrete(actions):
        return jnp.argmax(output)
    return actions.low + (actions.high - actions.low) * (jnp.tanh(output) + 1) / 2


def play(task, policy, key):
    """() the return of one episode, the sum of its rewards."""
    env, params = gymnax.make(task)
    actions = env.action_space(params)
    reset, step = jax.random.split(key)

    def going_on(carry):
        return ~carry[2]

    def move(carry):
        observation, state, _, total = carry
        action, now = act(policy, observation, actions), jax.random.fold_in(step, state.time)
        observation, state, reward, terminated, _ = env.step_env(now, state, action, params)
        return observation, state, terminated | env.is_truncated(state, params), total + reward

    # Under vmap the loop ends with the last episode: the first generations of CartPole, which all fall soon, cost little.
    return lax.while_loop(going_on, move, (*env.reset_env(reset, params), jnp.asarray(False), jnp.float32(0)))[3]


def average_return(policy, key, task, episodes):
    """The objective, larger is better: the average return of some episodes."""
    return jax.vmap(functools.partial(play, task, policy))(jax.random.split(key, episodes)).mean()


def search(name, objective, space, lam, generations, seeds, key):
    """The policies at the mean after every generation: a pytree with the axes (seeds, generations)."""
    start = space.decode(jnp.zeros(space.dimension))
    strategy = getattr(jaxes, name)(space, lam=lam, start=start, sigma=SIGMA)
    result = jaxes.minimize(
        objective,
        strategy=strategy,
        key=key,
        generations=generations,
        runs=seeds,
        # Where the return has a largest value that many candidates reach, a search would take it for a plateau and stop.
        stop={"converged": False},
        history=1,
        record=lambda state, population, fitness: strategy.mean(state),
        stochastic=True,
        maximise=True,
    )
    return result.history.custom


def search_evosax(name, objective, space, lam, generations, seeds, key):
    """As `search`."""
    from evosax import algorithms

    start = space.decode(jnp.zeros(space.dimension))
    strategy = getattr(algorithms, name)(population_size=lam, solution=start)
    params = strategy.default_params

    def generation(state, key):
        ask, evaluate, tell = jax.random.split(key, 3)
        population, state = strategy.ask(ask, state, params)
        returns = jax.vmap(objective)(population, jax.random.split(evaluate, lam))
        state, _ = strategy.tell(tell, population, -returns, state, params)
        return state, strategy.get_mean(state)

    def one(key):
        begin, key = jax.random.split(key)
        return lax.scan(generation, strategy.init(begin, start, params), jax.random.split(key, generations))[1]

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(key), seeds))


def interval(values, resamples=10_000):
    """Of the mean of (seeds, ...), 95 %: percentiles of bootstrap samples of the seeds. No return is normal near its limit."""
    rows = np.random.default_rng(0).integers(len(values), size=(resamples, len(values)))
    return np.quantile(values[rows].mean(axis=1), [0.025, 0.975], axis=0)


def plot(path, task, evaluations, curves):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for i, (name, returns) in enumerate(curves.items()):
        color = f"C{i % len(STRATEGIES)}"  # a strategy's and its peer's
        axes.plot(evaluations, returns.mean(axis=0), "-" if i < len(STRATEGIES) else "--", color=color, label=name)
        axes.fill_between(evaluations, *interval(returns), color=color, alpha=0.15, linewidth=0)
    axes.set(xlabel="episodes of a search", ylabel="return of the mean policy, new episodes", title=task)
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--task", choices=TASKS, default=TASKS[0])
    parser.add_argument("--seeds", type=int, help="independent searches of each strategy, default 16")
    parser.add_argument("--generations", type=int, help="default 40")
    parser.add_argument("--evosax", action="store_true", help="the same strategies of evosax, with its defaults, as well")
    parser.add_argument("--quick", action="store_true", help="tiny settings, which learn nothing")
    parser.add_argument("--folder", type=Path, default=Path("."), help="where to save the picture")
    options = parser.parse_args()
    lam, episodes, tests = (8, 1, 4) if options.quick else (64, 4, 64)
    seeds, generations = options.seeds or (3 if options.quick else 16), options.generations or (3 if options.quick else 40)

    space = network(options.task)
    objective = functools.partial(average_return, task=options.task, episodes=episodes)
    shown = np.unique(np.linspace(0, generations - 1, 20).astype(int))  # generations whose mean is tested
    keys = jax.random.split(jax.random.key(1), tests)  # the same new episodes for all

    @jax.jit
    def test(policies):
        """(seeds, shown) average returns."""
        every = jax.vmap(jax.vmap(lambda policy: jax.vmap(functools.partial(play, options.task, policy))(keys).mean()))
        return every(jax.tree.map(lambda leaf: leaf[:, shown], policies))

    searches = {name: functools.partial(search, name) for name in STRATEGIES}
    if options.evosax:
        searches |= {f"evosax {name}": functools.partial(search_evosax, name) for name in STRATEGIES.values()}
    print(f"{options.task}, {space.dimension} weights: {seeds} searches of {generations} generations each,")
    print(f"{lam} candidates x {episodes} episodes in a generation\n")
    curves, rows = {}, []
    for name, policies in searches.items():
        curves[name] = returns = np.asarray(test(policies(objective, space, lam, generations, seeds, 0)))
        last = returns[:, -1]
        rows.append((name, last.mean(), *interval(last), last.min(), last.max(), returns.mean()))
    columns = ("strategy", "return", "95% from", "to", "worst seed", "best seed", "over the search")
    print(Table(columns, tuple(rows)))
    print("\nReturns of the mean policy on new episodes, averaged over seeds.")
    plot(options.folder / "neuroevolution.png", options.task, (shown + 1) * lam * episodes, curves)


if __name__ == "__main__":
    main()

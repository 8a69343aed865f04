"""What bad input gets: an error that names the argument, its value and what it may be, before anything runs."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import box, exact

import jaxes
from jaxes import ES, Box, OneFifth, Schedule, SelfAdaptation, Stop, minimize, run, sweep

SPACE = box()
STRATEGY = ES(SPACE, mu=5, lam=20, sigma=0.3)
OPEN = Box(-np.inf, np.inf, shape=3)

CASES = {
    # spaces
    "lower above upper": (lambda: Box(1, -1), ValueError, "Box(lower=..., upper=...) must satisfy lower < upper", "lower=1"),
    "lower is upper": (lambda: Box([0.0, 1.0], [1.0, 1.0]), ValueError, "lower < upper", "[1.0, 1.0]"),
    "no number between": (lambda: Box(1.0, 1.0 + 1e-12), ValueError, "in float32", "lower=1.0"),
    "NaN bound": (lambda: Box(np.nan, 1), ValueError, "must not be NaN", "nan"),
    "all of it infinite": (lambda: Box(np.inf, np.inf), ValueError, "lower < upper", "inf"),
    "log of zero": (lambda: Box(0, 1, scale="log"), ValueError, 'with scale="log"', "lower=0"),
    "unknown scale": (lambda: Box(0, 1, scale="ln"), ValueError, "'linear', 'log'", "'ln'"),
    "bounds that do not broadcast": (lambda: Box([0, 0], [1, 1, 1]), ValueError, "broadcast", "(2,) and (3,)"),
    "bounds larger than shape": (lambda: Box([0, 0], 1, shape=3), ValueError, "shape=(3,)", "(2,)"),
    "negative shape": (lambda: Box(0, 1, shape=-1), ValueError, "Box(shape=...) must be at least 1", "-1"),
    "float shape": (lambda: Box(0, 1, shape=2.0), TypeError, "Box(shape=...) must be an integer", "2.0"),
    "text as a bound": (lambda: Box("a", 1), TypeError, "Box(lower=...) must be a number", "'a'"),
    "no space": (lambda: ES(None), TypeError, "space must be a jaxes.Box or a pytree", "None"),
    "bounds as a space": (lambda: ES([(-5, 5), (-5, 5)]), TypeError, "jaxes.Box", "(-5, 5)"),
    "half precision": (lambda: Box(np.float16(0), 1), TypeError, "must be float32 or float64", "float16"),
    "subnormal on a log scale": (lambda: Box(1e-40, 1, scale="log"), ValueError, "must be at least 1.17", "1e-40"),
    "a rule's class": (lambda: ES(SPACE, sigma=OneFifth), TypeError, "a rule such as OneFifth()", "class"),
    "a rule's sigma": (lambda: SelfAdaptation(sigma="x"), TypeError, "SelfAdaptation(sigma=...) must be a number", "'x'"),
    "several targets": (lambda: Stop(target=[1.0, 2.0]), ValueError, "Stop(target=...) must be one number", "[1.0, 2.0]"),
    "several taus": (lambda: SelfAdaptation(tau=[1.0, 2.0]), ValueError, "must be one number", "[1.0, 2.0]"),
    "text as stagnation": (lambda: Stop(stagnation="3"), TypeError, "Stop(stagnation=...) must be a number", "'3'"),
    "huge budget": (lambda: Stop(evaluations=5 * 10**9), ValueError, "from 1 to 2147483647", "5000000000"),
    "seeds and a start": (
        lambda: ES(SPACE, mu=1, lam=2, seeds=np.zeros((2, 3)), start=np.zeros(3)),
        ValueError,
        "1 to 1 = population_size less the start",
        "(2, 3)",
    ),
    "one target": (lambda: run(STRATEGY, exact, 0, 1, targets=1.0), ValueError, "a sequence of at least one number", "1.0"),
    "no targets": (lambda: run(STRATEGY, exact, 0, 1, targets=[]), ValueError, "run(targets=...) must be a sequence", "[]"),
    "text as targets": (lambda: run(STRATEGY, exact, 0, 1, targets=["a"]), TypeError, "run(targets=...) must be", "'a'"),
    "NaN as a target": (lambda: run(STRATEGY, exact, 0, 1, targets=[1, np.nan]), ValueError, "must be numbers", "nan"),
    "huge seed": (lambda: run(STRATEGY, exact, 2**70, 1), ValueError, "fit into 64 bits", "1180591620717411303424"),
    "a result as state": (
        lambda: run(STRATEGY, exact, None, 1, state=run(STRATEGY, exact, 0, 1)),
        TypeError,
        "run(state=...) must be the state of an earlier run",
        "Result",
    ),
    "another strategy's state": (
        lambda: run(STRATEGY, exact, None, 1, state=ES(SPACE, mu=2, lam=4, sigma=OneFifth()).init(0)),
        ValueError,
        "run(state=...) must be a state of this strategy",
        "",
    ),
    "index in an objective": (lambda: run(STRATEGY, lambda x: [1.0, 2.0][x[0].astype(int)], 0, 1), TypeError, "jax.numpy", ""),
    "maximised tuple": (lambda: run(STRATEGY, lambda x: (x, x), 0, 1, maximise=True), ValueError, "one number", "(3,)"),
    "maximised boolean": (lambda: run(STRATEGY, lambda x: x[0] > 0, 0, 1, maximise=True), TypeError, "floating", "bool"),
    "array from a callback": (
        lambda: minimize(exact, strategy=STRATEGY, generations=3, callback=lambda r: r.fitness < 5),
        TypeError,
        "a callback must return None",
        "array",
    ),
    "a name inside another": (
        lambda: sweep(STRATEGY, exact, 0, 1, over={"sigma": [OneFifth()], "sigma.target": [0.1]}),
        ValueError,
        "cannot vary 'sigma.target' and all of 'sigma' at once",
        "",
    ),
    "a word to sweep": (
        lambda: sweep(STRATEGY, exact, 0, 1, over={"selection": "plus"}),
        TypeError,
        "several values",
        "'plus'",
    ),
    "spaces of other shapes": (
        lambda: sweep(STRATEGY, exact, 0, 1, over={"space": [box(2), box(3)]}),
        ValueError,
        "share structure, shapes and dtype",
        "",
    ),
    # the strategy
    "mu above lam": (lambda: ES(SPACE, mu=30, lam=20), ValueError, "ES(mu=...) must be at most lam=20", "30"),
    "uneven children": (lambda: ES(SPACE, mu=20, lam=90), ValueError, "multiple of mu=20", "Use lam=80 or 100"),
    "no parents": (lambda: ES(SPACE, mu=0, lam=20), ValueError, "ES(mu=...) must be at least 1", "0"),
    "float mu": (lambda: ES(SPACE, mu=2.0, lam=20), TypeError, "ES(mu=...) must be an integer", "2.0"),
    "boolean lam": (lambda: ES(SPACE, mu=1, lam=True), TypeError, "ES(lam=...) must be an integer", "True"),
    "zero sigma": (lambda: ES(SPACE, sigma=0.0), ValueError, "ES(sigma=...) must be positive and finite", "0.0"),
    "negative sigma": (lambda: ES(SPACE, sigma=[0.1, -1, 1]), ValueError, "ES(sigma=...) must be positive", "-1"),
    "NaN sigma": (lambda: ES(SPACE, sigma=np.nan), ValueError, "ES(sigma=...) must be positive", "nan"),
    "sigma of a wrong shape": (lambda: ES(SPACE, sigma=[0.1, 0.2]), ValueError, "solution's shape (3,)", "(2,)"),
    "sigma of a wrong structure": (lambda: ES({"a": SPACE}, sigma={"b": 1.0}), ValueError, "ES(sigma=...)", "'b'"),
    "sigma as text": (lambda: ES(SPACE, sigma="big"), TypeError, "ES(sigma=...) must be a number", "'big'"),
    "negative initial sigma": (lambda: OneFifth(sigma=-1.0), ValueError, "OneFifth(sigma=...) must be positive", "-1.0"),
    "target rate": (lambda: OneFifth(target=1.5), ValueError, "between 0 and 1", "1.5"),
    "tau_coordinate alone": (lambda: SelfAdaptation(tau_coordinate=0.1), ValueError, "needs per_coordinate=True", ""),
    "negative tau": (lambda: SelfAdaptation(tau=-0.1), ValueError, "SelfAdaptation(tau=...)", "-0.1"),
    "schedule that is no factory": (lambda: Schedule(3), TypeError, "Schedule(factory=...)", "3"),
    "schedule of vectors": (lambda: Schedule(lambda: lambda g: jnp.ones(3)), ValueError, "one number per generation", "(3,)"),
    "unknown selection": (lambda: ES(SPACE, selection="best"), ValueError, "'comma', 'plus'", "'best'"),
    "unknown recombination": (lambda: ES(SPACE, recombination="sbx"), ValueError, "'intermediate', 'weighted'", "'sbx'"),
    "rho without recombination": (lambda: ES(SPACE, rho=2), ValueError, "ES(rho=...) needs a recombination", "rho=2"),
    "rho above mu": (lambda: ES(SPACE, recombination="discrete", rho=99), ValueError, "at most mu=15", "99"),
    "rho of zero": (lambda: ES(SPACE, recombination="discrete", rho=0), ValueError, "ES(rho=...) must be at least 1", "0"),
    "mutation rate": (lambda: ES(SPACE, mutation_rate=1.5), ValueError, "above 0 and at most 1", "1.5"),
    "unknown bounds": (lambda: ES(SPACE, bounds="clip"), TypeError, "Resample(), Clip(), Reflect() or Wrap()", "'clip'"),
    "unknown option": (lambda: ES(SPACE, popsize=3), TypeError, "popsize", ""),
    "reevaluate with comma": (lambda: ES(SPACE, reevaluate=True), ValueError, 'needs selection="plus"', ""),
    "reevaluate as a number": (lambda: ES(SPACE, reevaluate=1), TypeError, "must be True or False", "1"),
    "seeds outside": (
        lambda: ES(SPACE, seeds=[[0, 0, 9.0]]),
        ValueError,
        "lie inside the box",
        "coordinate 2 of point 0 is 9.0",
    ),
    "NaN seeds": (lambda: ES(SPACE, seeds=[[0, 0, np.nan]]), ValueError, "ES(seeds=...) must be finite", "nan"),
    "log seeds outside": (
        lambda: ES(Box(1e-3, 1, scale="log"), seeds=[1e-5]),
        ValueError,
        "ES(seeds=...) must be finite and lie inside",
        "",
    ),
    "too many seeds": (
        lambda: ES(SPACE, mu=1, lam=2, seeds=np.zeros((3, 3))),
        ValueError,
        "1 to 2 = population_size",
        "(3, 3)",
    ),
    "one seed without an axis": (lambda: ES(SPACE, mu=1, lam=2, seeds=np.zeros(3)), ValueError, "leading axis", "(3,)"),
    "seeds of a wrong shape": (lambda: ES(SPACE, seeds=np.zeros((2, 4))), ValueError, "shape (3,), got (4,)", "seeds"),
    "start outside": (lambda: ES(SPACE, start=[0, 0, 5.0]), ValueError, "ES(start=...)", "5.0"),
    "spread without start": (lambda: ES(SPACE, spread=1.0), ValueError, "ES(spread=...) needs a start", ""),
    "negative spread": (
        lambda: ES(SPACE, start=np.zeros(3), spread=-1.0),
        ValueError,
        "ES(spread=...) must be positive",
        "-1.0",
    ),
    "no bounds and no start": (lambda: ES(OPEN, sigma=1.0), ValueError, "infinite side", "give start"),
    "no bounds and no sigma": (lambda: ES(OPEN, start=np.zeros(3)), ValueError, "ES(sigma=...) must be given", "infinite side"),
    "no bounds and no strategy": (
        lambda: minimize(exact, OPEN),
        ValueError,
        "minimize(space=...) has an infinite side",
        "strategy=jaxes.Portfolio(space, start=",
    ),
    "no bounds in many dimensions": (
        lambda: minimize(exact, Box(0, np.inf, shape=300)),
        ValueError,
        "minimize(space=...) has an infinite side",
        "strategy=jaxes.LMMAES(space, start=",
    ),
    # running
    "negative generations": (lambda: run(STRATEGY, exact, 0, -1), ValueError, "run(generations=...) must be at least 0", "-1"),
    "float generations": (lambda: run(STRATEGY, exact, 0, 1e3), TypeError, "run(generations=...) must be an integer", "1000.0"),
    "too many generations": (lambda: run(STRATEGY, exact, 0, 2**31), ValueError, "at most 2147483647", "2147483648"),
    "a class as strategy": (lambda: run(ES, exact, 0, 1), TypeError, "run(strategy=...) must be a strategy", "ES"),
    "no objective": (lambda: run(STRATEGY, 3.0, 0, 1), TypeError, "objective must be a function", "3.0"),
    "vector objective": (lambda: run(STRATEGY, lambda x: x, 0, 1), ValueError, "scalar of shape ()", "got shape (3,)"),
    "tuple objective": (lambda: run(STRATEGY, lambda x: (x.sum(), 1.0), 0, 1), ValueError, "one number", "((), ())"),
    "integer objective": (lambda: run(STRATEGY, lambda x: jnp.sum(x > 0), 0, 1), TypeError, "floating number", "int32"),
    "batched objective": (
        lambda: run(STRATEGY, lambda x: x.sum(), 0, 1, batched=True),
        ValueError,
        "batched=True must return shape (20,)",
        "got ()",
    ),
    "numpy objective": (lambda: run(STRATEGY, lambda x: float(x[0]), 0, 1), TypeError, "host=True", "jax.numpy"),
    "too few arguments": (lambda: run(STRATEGY, lambda: 1.0, 0, 1), TypeError, "called with 1 argument(s), the solution", "0"),
    "too many arguments": (
        lambda: run(STRATEGY, lambda x: x.sum(), 0, 1, args=1.0, stochastic=True),
        TypeError,
        "called with 3 argument(s), the solution, args, a key",
        "takes 1 positional argument",
    ),
    "branching objective": (lambda: run(STRATEGY, lambda x: x[0] if x[0] > 0 else x[1], 0, 1), TypeError, "jax.numpy", "`if`"),
    "no key": (lambda: run(STRATEGY, exact, None, 1), TypeError, "key=...) must be one key", "None"),
    "float key": (lambda: run(STRATEGY, exact, 1.5, 1), TypeError, "integer seed", "1.5"),
    "many keys": (lambda: run(STRATEGY, exact, jax.random.split(jax.random.key(0), 3), 1), TypeError, "one key", "shape (3,)"),
    "unknown stop": (
        lambda: run(STRATEGY, exact, 0, 1, stop={"tol": 1}),
        ValueError,
        "no condition ['tol']",
        "target, stagnation",
    ),
    "stop as number": (lambda: run(STRATEGY, exact, 0, 1, stop=0.1), TypeError, "jaxes.Stop, a dict", "0.1"),
    "NaN target": (lambda: Stop(target=np.nan), ValueError, "Stop(target=...) must be a number", "nan"),
    "negative spread condition": (lambda: Stop(spread=-1.0), ValueError, "Stop(spread=...) must be positive", "-1.0"),
    "float stagnation": (lambda: Stop(stagnation=2.5), TypeError, "Stop(stagnation=...) must be an integer", "2.5"),
    "small budget": (
        lambda: run(STRATEGY, exact, 0, 9, stop=Stop(evaluations=19)),
        ValueError,
        "at least one generation's 20",
        "19",
    ),
    "negative history": (
        lambda: run(STRATEGY, exact, 0, 1, history=-1),
        ValueError,
        "run(history=...) must be at least 0",
        "-1",
    ),
    "record of populations": (
        lambda: minimize(exact, Box(-1.0, 1.0, shape=3), record=lambda state, population, fitness: fitness),
        ValueError,
        "record=... must return the same shapes and dtypes for populations of every size",
        "shape=(7,)",
    ),
    "record without history": (lambda: run(STRATEGY, exact, 0, 1, record=print), ValueError, "needs history=True", ""),
    "option as a number": (lambda: run(STRATEGY, exact, 0, 1, maximise=1), TypeError, "maximise must be True or False", "1"),
    "unknown run option": (lambda: run(STRATEGY, exact, 0, 1, verbose=1), TypeError, "verbose", ""),
    # minimize and sweep
    "nowhere to search": (lambda: minimize(exact), ValueError, "minimize(space=...) is needed", "Problem"),
    "two spaces": (lambda: minimize(exact, SPACE, strategy=STRATEGY), ValueError, "give one of space and strategy", ""),
    "no runs": (lambda: minimize(exact, SPACE, runs=0), ValueError, "minimize(runs=...) must be at least 1", "0"),
    "callback": (lambda: minimize(exact, SPACE, callback=3), TypeError, "minimize(callback=...)", "3"),
    "strategy class": (lambda: minimize(exact, strategy=ES), TypeError, "minimize(strategy=...)", "ES"),
    "nothing to sweep": (lambda: sweep(STRATEGY, exact, 0, 1, over={}), TypeError, "sweep(over=...) must be a dict", "{}"),
    "unknown name": (lambda: sweep(STRATEGY, exact, 0, 1, over={"sgma": [1]}), ValueError, "cannot vary 'sgma' of ES", "sigma"),
    "unknown inner name": (
        lambda: sweep(STRATEGY, exact, 0, 1, over={"stop.tau": [1]}),
        ValueError,
        "cannot vary 'tau' of Stop",
        "target",
    ),
    "inside a number": (
        lambda: sweep(STRATEGY, exact, 0, 1, over={"sigma.tau": [1]}),
        ValueError,
        "cannot vary 'tau'",
        "sigma",
    ),
    "one value": (lambda: sweep(STRATEGY, exact, 0, 1, over={"sigma": 0.1}), TypeError, "must be several values", "0.1"),
    "no values": (lambda: sweep(STRATEGY, exact, 0, 1, over={"sigma": []}), ValueError, "at least one value", "sigma"),
    "uneven tuples": (
        lambda: sweep(STRATEGY, exact, 0, 1, over={("mu", "lam"): [(1, 2, 3)]}),
        ValueError,
        "tuples of 2 values",
        "(1, 2, 3)",
    ),
    "twice": (
        lambda: sweep(STRATEGY, exact, 0, 1, over={"mu": [1], ("mu", "lam"): [(1, 2)]}),
        ValueError,
        "names ['mu'] twice",
        "",
    ),
    "bad cell": (lambda: sweep(STRATEGY, exact, 0, 1, over={"mu": [5, 7]}), ValueError, "multiple of mu=7", "20"),
    "no repeats": (lambda: sweep(STRATEGY, exact, 0, 1, over={"mu": [5]}, repeats=0), ValueError, "sweep(repeats=...)", "0"),
    "no chunk": (lambda: sweep(STRATEGY, exact, 0, 1, over={"mu": [5]}, chunk=0), ValueError, "sweep(chunk=...)", "0"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input(case):
    call, kind, words, value = CASES[case]
    with pytest.raises(kind, match=re.escape(words)) as caught:
        call()
    assert value in str(caught.value)


def test_nothing_has_run_before_a_sweep_refuses_a_cell():
    calls = []

    def objective(x):
        jax.debug.callback(lambda: calls.append(1))
        return exact(x)

    with pytest.raises(ValueError, match="multiple"):
        sweep(STRATEGY, objective, 0, 1, over={"mu": [5, 7]})
    with pytest.raises(ValueError, match="scalar"):
        sweep(STRATEGY, lambda x: x * objective(x), 0, 1, over={"mu": [5, 10]})
    assert calls == []


TOLD = {
    "fitness of a wrong shape": (lambda p: (p, np.zeros((20, 1))), ValueError, "(20,) = (population_size,), got (20, 1)"),
    "too little fitness": (lambda p: (p, np.zeros(19)), ValueError, "got (19,)"),
    "integer fitness": (lambda p: (p, np.zeros(20, int)), TypeError, "floating `fitness`, got dtype int"),
    "too small a population": (lambda p: (p[:5], np.zeros(20)), ValueError, "leading axis of 20"),
    "solutions of a wrong shape": (lambda p: (p[:, :2], np.zeros(20)), ValueError, "shape (3,), got (2,)"),
    "a wrong structure": (lambda p: ({"x": p}, np.zeros(20)), ValueError, "shape (3,)"),
}


@pytest.mark.parametrize("case", TOLD)
def test_telling_what_was_not_asked(case):
    change, kind, words = TOLD[case]
    population, state = STRATEGY.ask(STRATEGY.init(0))
    with pytest.raises(kind, match=re.escape(words)):
        STRATEGY.tell(state, *change(population))


def test_lists_of_python_floats_are_fitness():
    population, state = STRATEGY.ask(STRATEGY.init(0))
    state = STRATEGY.tell(state, population, [float(i) for i in range(20)])
    np.testing.assert_array_equal(state.parents, population[:5])


def test_a_plain_python_objective_by_hand():
    """No JAX in the objective: files, simulators, `if`."""
    state = STRATEGY.init(0)
    for _ in range(60):
        population, state = STRATEGY.ask(state)
        fitness = [sum(abs(float(v) - 0.5) if v > 0 else 1.0 for v in x) for x in np.asarray(population)]
        state = STRATEGY.tell(state, population, fitness)
    assert state.best_fitness < 0.5
    assert (np.asarray(STRATEGY.best(state)) > 0).all()


def test_public_names():
    assert set(jaxes.__all__) <= set(dir(jaxes))
    for name in jaxes.__all__:
        assert getattr(jaxes, name).__doc__, name

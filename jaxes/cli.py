"""The command line: `jaxes run`, `sweep`, `score`, `problems`, and of long runs `resume`, `show`, `watch`."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import functools
import importlib
import importlib.util
import json
import os
import sys
from typing import Any

import jax
import numpy as np

from jaxes import __version__, problems
from jaxes.analysis import Runtimes, compare, ert_table, group_table, plot_ecdf
from jaxes.analysis.table import Table, plain
from jaxes.bounds import Clip, Reflect, Resample, Smooth, Wrap
from jaxes.checkpoint import Checkpoint, contents, read
from jaxes.host import Host
from jaxes.islands import Islands
from jaxes.minimize import budgeted, minimize
from jaxes.operators.step_size import OneFifth, SelfAdaptation
from jaxes.portfolio import Portfolio
from jaxes.problems.problem import Problem
from jaxes.restart import POLICIES, Restart
from jaxes.result import Result
from jaxes.score import score
from jaxes.space import Box
from jaxes.stop import Stop, StopReason
from jaxes.strategies import ALL
from jaxes.strategies.es import RECOMBINATIONS
from jaxes.strategy import Strategy
from jaxes.sweep import sweep
from jaxes.watch import watch

BOUNDS = {"smooth": Smooth(), "resample": Resample(), "clip": Clip(), "reflect": Reflect(), "wrap": Wrap()}
RULES = {"one-fifth": OneFifth, "self-adaptation": SelfAdaptation}
STRATEGIES = {strategy.__name__.lower(): strategy for strategy in (*ALL, Portfolio)}

EPILOG = """\
examples:
  jaxes problems
      The built-in problems, their boxes and optima.
  jaxes run ackley -d 20 --runs 1024 --generations 2000 --plot convergence.png
      1,024 independent runs in one program, a table of what they found, and a picture.
  jaxes run mymodule:loss --lower -2 --upper 2 -d 8 --json result.json
      Your own objective: a jax.numpy function of one solution, here of shape (8,), in mymodule.py.
  jaxes run mymodule:simulate --lower -2 --upper 2 -d 8 --strategy cmaes --host --workers 16 --timeout 600
      An objective that is not JAX: any Python function of a NumPy array, such as one that runs a simulator.
  jaxes sweep ackley --over sigma=0.05,0.1,0.2 --over mu=5,20 --repeats 50 --plot heat.png
      A grid of hyperparameters, a row per combination.
  jaxes run mymodule:loss --lower -2 --upper 2 -d 8 --checkpoint runs --seconds 3600 --log run.csv
      An hour of it, saved every minute; jaxes watch run.csv draws it from another terminal; jaxes resume runs goes on.
  jaxes score es es:mu=5,lam=35,sigma=one-fifth -d 5 --plot ecdf.png --json scores.json
      Two strategies on the 24 functions of the BBOB suite: targets reached, expected runtimes, who is faster.
  jaxes score portfolio cmaes:restart=bipop -d 5
      The portfolio that minimize() uses, and CMA-ES with restarts.
  jaxes score mymodule:make scores.json -d 5
      Your own strategy, a function of a space, beside those scored earlier.

exit codes:
  0 done (with --target: all runs reached it)    1 --target was not reached by all runs
  2 wrong arguments                              130 interrupted; what was found is printed and written
"""


def main(arguments: list[str] | None = None) -> int:
    """The command's exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    options.arguments = tuple(sys.argv[1:] if arguments is None else arguments)
    if options.command is None:
        parser.print_help()
        return 2
    try:
        return options.call(options)
    except (ValueError, TypeError, ImportError, OSError) as error:
        print(f"jaxes: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxes",
        description="Evolution strategies on JAX: thousands of independent optimisations as one compiled program.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"jaxes {__version__}")
    commands = parser.add_subparsers(dest="command", title="commands")

    run = commands.add_parser("run", help="optimise a problem, once or many times", epilog=EPILOG, **_RAW)
    run.set_defaults(call=_run)
    _add_task(run)
    run.add_argument("--runs", type=int, default=1, help="independent runs at once (default: %(default)s)")
    add = run.add_argument_group("objectives that are not JAX").add_argument
    add("--host", action="store_true", help="the objective is any Python function of a NumPy array; workers evaluate it")
    add("--executor", choices=("thread", "process"), help="with --host, what the workers are (default: thread)")
    add("--workers", type=int, help="with --host, how many there are (default: one for each core)")
    add("--timeout", type=float, metavar="SECONDS", help="with --host, an evaluation that takes longer counts as worst")

    grid = commands.add_parser("sweep", help="run every combination of hyperparameters", epilog=EPILOG, **_RAW)
    grid.set_defaults(call=_sweep)
    _add_task(grid)
    grid.add_argument(
        "--over",
        action="append",
        required=True,
        metavar="NAME=V1,V2,...",
        help="a hyperparameter and its values, such as sigma=0.1,0.3; again for a grid; mu:lam=5:35,20:140 pairs two",
    )
    grid.add_argument("--repeats", type=int, default=10, help="runs per combination (default: %(default)s)")
    grid.add_argument("--chunk", type=int, help="at most this many runs at once (default: what fits into memory)")
    grid.add_argument("--max-memory", type=float, metavar="BYTES", help="or a fraction of what there is (default: 0.8)")

    suite = commands.add_parser("score", help="score strategies on the BBOB suite", epilog=EPILOG, **_RAW)
    suite.set_defaults(call=_score)
    _add_score(suite)

    again = commands.add_parser("resume", help="go on with what --checkpoint saved")
    again.set_defaults(call=_resume)
    again.add_argument("path", help="the folder")
    again.add_argument("--seconds", type=float, help="end after so many seconds, and save")
    again.add_argument("--no-progress", dest="progress", action="store_false", help="no progress bar on standard error")

    saved = commands.add_parser("show", help="what is in a folder of checkpoints")
    saved.set_defaults(call=_show)
    saved.add_argument("path", help="the folder")

    live = commands.add_parser("watch", help="draw the log of a run while it grows")
    live.set_defaults(call=_watch)
    live.add_argument("path", help="the file that --log writes")
    live.add_argument("--once", action="store_true", help="draw it once, as it is now")

    listing = commands.add_parser("problems", help="list the built-in problems")
    listing.set_defaults(call=_problems)
    more = "; a problem that does not exist in this dimension is listed in its own"
    listing.add_argument("-d", "--dimension", type=int, default=2, help=f"(default: %(default)s){more}")
    return parser


_RAW: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter}


def _add_task(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("objective", help=f"one of {', '.join(problems.ALL)}; or module:function, or file.py:function")

    group = parser.add_argument_group("where")
    add = group.add_argument
    add(
        "-d",
        "--dimension",
        type=int,
        help="number of coordinates (default: 2, or the problem's own)",
    )
    add("--lower", type=float, help="lower bound of every coordinate, as --lower=-1e2; default: the problem's")
    add("--upper", type=float, help="upper bound of every coordinate; default: the problem's")
    add("--scale", choices=("linear", "log"), default="linear", help="with --lower and --upper (default: %(default)s)")

    group = parser.add_argument_group("strategy")
    add = group.add_argument
    add("--strategy", choices=STRATEGIES, default="es", help="(default: %(default)s)")
    defaults = {f.name: f.default for f in dataclasses.fields(STRATEGIES["es"])}
    add("--mu", type=int, help=f"parents (default: {defaults['mu']})")
    add("--lam", type=int, help=f"children per generation (default: {defaults['lam']})")
    add("--sigma", type=float, help="standard deviation of mutations; the initial one with --rule")
    add("--rule", choices=RULES, help="how sigma adapts (default: self-adaptation, or constant if --sigma is given)")
    add("--selection", choices=("comma", "plus"), help=f"(default: {defaults['selection']})")
    add("--recombination", choices=RECOMBINATIONS, help=f"(default: {defaults['recombination']})")
    add("--rho", type=int, help="parents recombined per child (default: mu)")
    add("--mutation-rate", type=float, help="probability that a coordinate is mutated (default: 1)")
    add("--bounds", choices=BOUNDS, help="what happens outside the box (default: the strategy's)")
    add("--islands", type=int, help="so many populations, which exchange individuals every 5 generations")
    add("--restart", choices=POLICIES, help="begin anew when the strategy has converged, until --evaluations are spent")

    group = parser.add_argument_group("running")
    add = group.add_argument
    default = "(default: 1000; for the portfolio and with --restart, what --evaluations pays for, or 5000 per dimension)"
    add("-g", "--generations", type=int, help=f"at most {default}")
    add("--seed", type=int, default=0, help="same seed, same numbers (default: %(default)s)")
    add("--maximise", action="store_true", help="larger is better")
    add("--target", type=float, help="stop a run that reaches this fitness, and report how many did")
    add("--stagnation", type=int, metavar="N", help="stop a run without improvement for N generations")
    add("--evaluations", type=int, metavar="N", help="stop a run before it exceeds N evaluations")
    add("--x64", action="store_true", help="compute in double precision")

    group = parser.add_argument_group("long runs")
    add = group.add_argument
    add("--checkpoint", metavar="FOLDER", help="save there now and then, and go on from what is there: see jaxes resume")
    add("--every", type=float, default=60.0, metavar="SECONDS", help="between checkpoints (default: %(default)g)")
    add("--seconds", type=float, help="end after so many seconds")
    add("--devices", type=int, metavar="N", help="share the runs, or the population of a single one, among N devices")

    group = parser.add_argument_group("output")
    add = group.add_argument
    add(
        "--plot",
        metavar="FILE",
        help="save a picture: convergence of the runs, or the sweep's heat map (.png, .pdf, .svg)",
    )
    add("--json", metavar="FILE", help="write settings and results; - for standard output, and nothing else there")
    add("--csv", metavar="FILE", help="write a row per run; - for standard output, and nothing else there")
    add("--no-progress", dest="progress", action="store_false", help="no progress bar on standard error")
    add("--verbose", type=int, default=0, metavar="N", help="print a line every N generations on standard error")
    add("--log", metavar="FILE", help="write a record a second (.csv, .parquet), which jaxes watch draws")
    add("--profile", metavar="FOLDER", help="write a trace of jax.profiler")


def _add_score(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "strategies",
        nargs="+",
        metavar="STRATEGY",
        help=f"{' or '.join(STRATEGIES)}, with settings as in es:mu=5,lam=35 or cmaes:restart=bipop; module:function or "
        "file.py:function, a function of a space that returns a strategy; or a FILE.json that --json wrote",
    )
    add("-d", "--dimension", type=int, default=5, help="of the functions (default: %(default)s)")
    add("--functions", default="1-24", metavar="LIST", help="as in 1,3,8-12 (default: %(default)s)")
    add("--instances", default="1-15", metavar="LIST", help="of each function (default: %(default)s)")
    add("--repeats", type=int, default=1, help="runs of each instance (default: %(default)s)")
    add("--budget", type=int, default=10_000, metavar="N", help="evaluations of a run / dimension (default: %(default)s)")
    add("--seed", type=int, default=0, help="same seed, same numbers (default: %(default)s)")
    add("--float32", action="store_true", help="compute in single precision, which misses some of the last targets")
    add("--plot", metavar="FILE", help="save the ECDFs of runtimes, by group of functions (.png, .pdf, .svg)")
    add("--json", metavar="FILE", help="write all runtimes; - for standard output, and nothing else there")
    add("--csv", metavar="FILE", help="write the expected runtimes; - for standard output, and nothing else there")
    add("--no-progress", dest="progress", action="store_false", help="no progress bar on standard error")


def _check_output(options: argparse.Namespace) -> None:
    """Refuses files that could not be written, before anything runs."""
    for path in (options.plot, options.json, options.csv):
        folder = os.path.dirname(os.path.abspath(path)) if path not in (None, "-") else "."
        if not os.path.isdir(folder):
            raise ValueError(f"there is no folder {folder} to write {path} into.")
        if path not in (None, "-") and os.path.isdir(path):
            raise ValueError(f"{path} is a folder; name a file in it.")
    if options.json == "-" and options.csv == "-":
        raise ValueError("only one of --json and --csv can be standard output.")
    if options.plot:
        _check_plot(options.plot)


def _task(options: argparse.Namespace) -> tuple[Any, Any, Stop]:
    """Objective, strategy and stop conditions that the options describe."""
    if options.x64:
        jax.config.update("jax_enable_x64", True)
    _check_output(options)
    objective, space = _objective(options)
    sigma = options.sigma
    if options.rule is not None:
        sigma = RULES[options.rule](sigma)
    given = {
        "mu": options.mu,
        "lam": options.lam,
        "sigma": sigma,
        "selection": options.selection,
        "recombination": options.recombination,
        "rho": options.rho,
        "mutation_rate": options.mutation_rate,
        "bounds": BOUNDS.get(options.bounds),
    }
    given = {name: value for name, value in given.items() if value is not None}
    kind = STRATEGIES[options.strategy]
    unknown = given.keys() - {field.name for field in dataclasses.fields(kind)}
    if unknown:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(unknown))
        raise ValueError(f"{names} is no setting of {kind.__name__}.")
    strategy: Strategy = kind(space, **given)
    if options.islands is not None:
        strategy = Islands(strategy, islands=options.islands)
    if options.restart is not None:
        strategy = Restart(strategy, policy=options.restart)
    stop = Stop(options.target, options.stagnation, evaluations=options.evaluations)
    options.generations, stop = budgeted(strategy, stop, options.generations)
    return objective, strategy, stop


def _objective(options: argparse.Namespace) -> tuple[Any, Any]:
    name, sides = options.objective, (options.lower, options.upper)
    if (options.lower is None) != (options.upper is None):
        raise ValueError("--lower and --upper go together.")
    if options.scale != "linear" and options.lower is None:
        raise ValueError("--scale goes with --lower and --upper.")
    problem, dimension = None, 2 if options.dimension is None else options.dimension
    if ":" not in name:
        if name not in problems.ALL:
            raise ValueError(f"{name!r} is no built-in problem ({', '.join(problems.ALL)}); your own is module:function.")
        make = problems.ALL[name]
        problem = make() if options.dimension is None else make(options.dimension)
        dimension = problem.space.dimension
    space = None
    if options.lower is not None:
        space = Box(*sides, shape=(dimension,), scale=options.scale)
    if problem is not None:
        return problem, space or problem.space
    where, _, function = name.rpartition(":")
    objective = getattr(_module(where), function, None)
    if objective is None:
        raise ValueError(f"{where} has no {function!r}.")
    if isinstance(objective, Problem):
        if options.dimension is not None and space is None:
            raise ValueError(f"--dimension is {name}'s own; with --lower and --upper it may be another.")
        return objective, space or objective.space
    if space is None:
        raise ValueError(f"--lower and --upper are needed for {name}, which is no jaxes.Problem.")
    return objective, space


def _module(where: str) -> Any:
    if where.endswith(".py"):
        spec = importlib.util.spec_from_file_location(os.path.basename(where)[:-3], where)
        if spec is None or spec.loader is None or not os.path.exists(where):
            raise ValueError(f"there is no file {where}.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        sys.path.insert(0, os.path.dirname(os.path.abspath(where)))
        spec.loader.exec_module(module)
        return module
    sys.path.insert(0, os.getcwd())
    return importlib.import_module(where)


def _check_plot(path: str) -> None:
    """Refuses what could not be saved, before anything runs."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError('--plot needs matplotlib: pip install "jaxes[plot]".')
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    known = Figure().canvas.get_supported_filetypes()
    if os.path.splitext(path)[1][1:] not in known:
        raise ValueError(f"--plot must end in one of {', '.join('.' + ending for ending in sorted(known))}, got {path}.")


def _progress(options: argparse.Namespace) -> bool:
    return options.progress and not getattr(options, "verbose", 0) and importlib.util.find_spec("tqdm") is not None


def _long(options: argparse.Namespace) -> dict[str, Any]:
    """What `minimize` and `sweep` have in common for long runs."""
    checkpoint = None
    if options.checkpoint is not None:
        checkpoint = Checkpoint(options.checkpoint, seconds=options.every, command=options.arguments)
    names = ("seconds", "devices", "verbose", "log", "profile")
    return {name: getattr(options, name) for name in names} | {"checkpoint": checkpoint, "progress": _progress(options)}


def _host(options: argparse.Namespace) -> bool | Host:
    """Who evaluates the objective, if it is not JAX."""
    given = {name: getattr(options, name) for name in ("executor", "workers", "timeout")}
    given = {name: value for name, value in given.items() if value is not None}
    if given and not options.host:
        names = ", ".join(f"--{name}" for name in given)
        raise ValueError(f"{names} needs --host: an objective in JAX is compiled, and runs by itself.")
    return Host(**given) if options.host else False


def _run(options: argparse.Namespace) -> int:
    objective, strategy, stop = _task(options)
    result = minimize(
        objective,
        strategy=strategy,
        key=options.seed,
        generations=options.generations,
        runs=options.runs,
        stop=stop,
        history=bool(options.plot),
        maximise=options.maximise,
        host=_host(options),
        **_long(options),
    )
    table = result.table(options.target)
    best = result.best()
    if options.plot:
        result.plot(options.plot, title=f"{type(strategy).__name__} on {options.objective}, {strategy.space.dimension}-D")
    if options.json or options.csv:
        host = jax.tree.map(np.asarray, dataclasses.replace(result, state=None, history=None))
        runs = [{"run": i} | _row(host[i]) | {"solution": plain(host[i].solution)} for i in range(options.runs)]
        winner = int(np.argmax(host.fitness) if host.maximise else np.argmin(host.fitness))
        summary = table.to_dicts()[0]
        _write(options, {"settings": _settings(options), "summary": summary, "best": runs[winner], "runs": runs}, runs)
    if "-" not in (options.json, options.csv):
        print(table)
        print(f"\nbest fitness {float(best.fitness):.6g} at {plain(best.solution)}")
        print(f"ended: {result.message()}")
        _say_written(options)
    return _exit_code(options, result)


def _sweep(options: argparse.Namespace) -> int:
    objective, strategy, stop = _task(options)
    given = [_over(text) for text in options.over]
    over = dict(given)
    if len(over) < len(given):
        raise ValueError(f"--over names a hyperparameter twice: {', '.join(options.over)}.")
    result = sweep(
        strategy,
        objective,
        options.seed,
        options.generations,
        over=over,
        repeats=options.repeats,
        chunk=options.chunk,
        max_memory=options.max_memory,
        stop=stop,
        maximise=options.maximise,
        **_long(options),
    )
    table = result.table(options.target)
    if options.plot:
        result.plot(options.plot)
    indices = np.ndindex(*np.shape(result.runs.fitness)) if options.json or options.csv else ()
    host = dataclasses.replace(result.runs, state=None, history=None)
    runs = [result.settings(index[:-1]) | {"repeat": index[-1]} | _row(host[index]) for index in indices]
    _write(options, {"settings": _settings(options), "table": table.to_dicts(), "runs": runs}, runs)
    if "-" not in (options.json, options.csv):
        settings, best = result.best()
        print(table)
        shown = ", ".join(f"{name}={value}" for name, value in settings.items())
        print(f"\nbest median fitness: {shown}; {best!r}")
        _say_written(options)
    return _exit_code(options, result.runs)


def _resume(options: argparse.Namespace) -> int:
    found, path = read(options.path), os.path.abspath(options.path)
    if not found["command"]:
        raise ValueError(f"{options.path} was not begun on the command line: call the same Python again, and it goes on.")
    again = _parser().parse_args(found["command"])
    again.arguments = tuple(found["command"])
    again.checkpoint, again.seconds, again.progress = path, options.seconds, options.progress and again.progress
    os.chdir(found["directory"])
    return again.call(again)


def _show(options: argparse.Namespace) -> int:
    for name, text in contents(options.path).items():
        print(f"{name:>12}  {text}")
    return 0


def _watch(options: argparse.Namespace) -> int:
    if importlib.util.find_spec("plotext") is None:
        raise ImportError('jaxes watch needs plotext: pip install "jaxes[watch]".')
    try:
        watch(options.path, once=options.once)
    except KeyboardInterrupt:
        return 130
    return 0


def _score(options: argparse.Namespace) -> int:
    if not options.float32:
        jax.config.update("jax_enable_x64", True)
    _check_output(options)
    functions, instances = _numbers("functions", options.functions), _numbers("instances", options.instances)
    found: list[Runtimes] = []
    makers = {}
    for text in options.strategies:
        if text.endswith(".json"):
            found += _read_runtimes(text)
        elif text in makers:
            raise ValueError(f"{text} is named twice.")
        else:
            makers[text] = _maker(text)
            makers[text](Box(-5.0, 5.0, shape=(2,)))  # refuses settings that do not fit, before anything runs
    names = [*(one.strategy for one in found), *makers]
    if len(set(names)) < len(names):
        raise ValueError(f"strategies must have different names, got {', '.join(names)}.")
    code = 0
    for text, make in makers.items():
        runtimes = score(
            make,
            dimension=options.dimension,
            functions=functions,
            instances=instances,
            repeats=options.repeats,
            budget=options.budget,
            key=options.seed,
            name=text,
            progress=_progress(options),
        )
        if len(runtimes.problems) < len(functions):  # interrupted
            code = 130
            found = found or [runtimes]
            break
        found.append(runtimes)
    erts = ert_table(found)
    if options.plot:
        plot_ecdf(found, options.plot)
    if options.json:
        _put(options.json, "[" + ",\n".join(one.to_json() for one in found) + "]")
    if options.csv:
        _put(options.csv, erts.to_csv().rstrip("\n"))
    if "-" not in (options.json, options.csv):
        print(erts)
        print(f"\n{group_table(found)}")
        if len(found) > 1 and len({one.runs for one in found}) == 1:
            print(f"\n{compare(found)}")
        _say_written(options)
    return code


def _numbers(name: str, text: str) -> list[int]:
    """1,3,8-10 as [1, 3, 8, 9, 10]."""
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        try:
            numbers += range(int(first), int(last if dash else first) + 1)
        except ValueError:
            raise ValueError(f"--{name} must be numbers and ranges such as 1,3,8-12, got {text!r}.") from None
    return numbers


def _maker(text: str) -> Any:
    """The function of a space that `STRATEGY` names."""
    name, _, settings = text.partition(":")
    if name not in STRATEGIES:
        if ":" not in text:
            raise ValueError(f"{text!r} is no strategy ({', '.join(STRATEGIES)}); your own is module:function.")
        where, _, function = text.rpartition(":")
        make = getattr(_module(where), function, None)
        if not callable(make):
            raise ValueError(f"{where} has no function {function!r}.")
        return make
    given: dict[str, Any] = {}
    for item in settings.split(",") if settings else ():
        key, equals, value = item.partition("=")
        if not equals or key in given:
            raise ValueError(f"settings must be {name}:NAME=VALUE,NAME=VALUE, each once, got {text!r}.")
        given[key] = RULES[value]() if value in RULES else _value(value)
    policy = given.pop("restart", None)
    if policy is None:
        return functools.partial(STRATEGIES[name], **given)
    return lambda space: Restart(STRATEGIES[name](space, **given), policy=policy)


def _read_runtimes(path: str) -> list[Runtimes]:
    with open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        data = json.loads(text)
        return [Runtimes.from_json(json.dumps(one)) for one in (data if isinstance(data, list) else [data])]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _problems(options: argparse.Namespace) -> int:
    if options.dimension < 1:
        raise ValueError(f"--dimension must be at least 1, got {options.dimension}.")
    rows = []
    for name, make in problems.ALL.items():
        try:
            problem = make(options.dimension)
        except ValueError:  # it does not exist in this dimension
            problem = make()
        sides = zip(*(np.asarray(side) for side in problem.space.bounds()), strict=True)
        box = _same([f"[{lower:g}, {upper:g}]" for lower, upper in sides], " x ")
        value = None if problem.optimal_value is None else float(np.asarray(problem.optimal_value))
        at = None if problem.optimum is None else _same([f"{x:g}" for x in np.asarray(problem.optimum)], ", ")
        rows.append((name, problem.space.dimension, box, value, at, str(make.__doc__).split(". Optimum")[0]))
    print(Table(("name", "dimension", "box", "optimum", "at x_i", "what it is"), tuple(rows)))
    return 0


def _same(coordinates: list[str], between: str) -> str:
    """One text for all coordinates if they are the same, else those of the first, at most three."""
    if len(set(coordinates)) == 1:
        return coordinates[0]
    return between.join(coordinates[:3]) + (between + "..." if len(coordinates) > 3 else "")


def _over(text: str) -> tuple[Any, list[Any]]:
    """A name and its values, from NAME=V1,V2 or from A:B=1:2,3:4."""
    names, equals, values = text.partition("=")
    if not equals or not names or not values:
        raise ValueError(f"--over must be NAME=V1,V2,..., got {text!r}.")
    if ":" not in names:
        return names, [_value(v) for v in values.split(",")]
    return tuple(names.split(":")), [tuple(_value(v) for v in item.split(":")) for item in values.split(",")]


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return BOUNDS.get(text, text)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    hidden = {"call", "command", "arguments", "every", "checkpoint"}
    hidden |= {"plot", "json", "csv", "progress", "verbose", "log", "profile"}
    return {name: value for name, value in vars(options).items() if name not in hidden}


def _row(run: Result) -> dict[str, Any]:
    return {
        "fitness": plain(run.fitness),
        "evaluations": int(run.evaluations),
        "generations": int(run.generations),
        "invalid": int(run.invalid),
        "stop_reason": run.message(),
    }


def _write(options: argparse.Namespace, report: dict[str, Any], runs: list[dict[str, Any]]) -> None:
    if options.json:
        _put(options.json, json.dumps(report, indent=2, default=plain))
    if options.csv:
        columns = tuple(name for name in runs[0] if name != "solution") if runs else ()
        width = len(runs[0]["solution"]) if runs and isinstance(runs[0].get("solution"), list) else 0
        names = (*columns, *(f"x{i}" for i in range(width)))
        rows = tuple((*(run[name] for name in columns), *(run["solution"][:width] if width else ())) for run in runs)
        _put(options.csv, Table(names, rows).to_csv().rstrip("\n"))


def _put(path: str, text: str) -> None:
    if path == "-":
        print(text)
        return
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + "\n")


def _say_written(options: argparse.Namespace) -> None:
    written = [path for path in (options.plot, options.json, options.csv) if path]
    if written:
        print(f"written: {', '.join(written)}")


def _exit_code(options: argparse.Namespace, result: Any) -> int:
    reasons = np.asarray(result.stop_reason)
    if (reasons == StopReason.INTERRUPTED).any():
        return 130
    return 1 if options.target is not None and (reasons != StopReason.TARGET).any() else 0


if __name__ == "__main__":
    sys.exit(main())

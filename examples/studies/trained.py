"""A trained rate network as spikes: how much of its task survives, and how much training on brings back.

The task is a perceptual decision: noisy evidence is to be added up for 0.2 s. The report is the running sum, its sign
the decision. Networks of 100 tanh units learn it as in a lab (optax, no spikes): one has weights of rank one, another
dense ones. `rl.from_rnn` makes SRM0 neurons of them, with copies of each:

    python examples/studies/trained.py              # some three minutes
    python examples/studies/trained.py --quick      # for a first look

A sum is kept only by weights that are right to a few per cent: so it shows what a conversion gets wrong.

A  one trial: the sum, and spikes of 1000 neurons before and after training on
B  error of the report against N: converted with one neuron for each unit, or a pair of opposite ones; pairs trained on
   with the loss of the generalised rate, and with the expected loss of spikes at their N
C  decisions that agree with the sum
D  the dense weights through their approximation of low rank

Writes trained.png, trained.pdf and trained.csv (a row for each network, way and N).
"""

import csv
import time
from collections.abc import Sequence

import _script
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import optax
from _rnn import BEGIN, END, GRID, RNN, TAU, UNITS, draw_trials, train_rnn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import ratelike as rl

QUICK = dict(seeds=1, rnn_steps=60, steps=2, trials=8, copies=[1], ranks=[1])
NEURON = rl.SRM0(
    tau_m=TAU,
    escape=rl.SigmoidEscape(rate=100.0),
    refractory=rl.ExponentialRefractory(4.0, 10e-3, dead_time=4e-3, memory=40e-3),
)
STYLES = {
    "one neuron for each unit": ("0.55", "v"),
    "a pair for each unit": ("#D55E00", "s"),
    "pairs, trained on: rate loss": ("#009E73", "^"),
    "pairs, trained on: expected spiking loss": ("#0072B2", "o"),
}
ONE, PAIRS, RATE, EXPECTED = STYLES


def convert(rnn: RNN, pairs: bool, rank: int, copies: int = 1):
    _, visited = jax.vmap(rnn)(draw_trials(jax.random.key(1), 64)[0])
    return rl.from_rnn(
        NEURON,
        rnn.weights(),
        rnn.input,
        rnn.output / UNITS,
        nonlinearity=np.tanh,
        activations=visited,
        rank=rank,
        copies=copies,
        pairs=pairs,
    )


def copied(network: rl.Network, copies: int) -> rl.Network:
    """Each neuron so many times: the same rate network, and the N-th part of the variance."""

    def rows(leaf):
        return jnp.repeat(leaf, copies, axis=0) if leaf.ndim else leaf

    return jax.tree.map(rows, network)


class Loss(eqx.Module):
    """That of the rate network and, of the variance of its spikes, a share: what is left of it in so many copies."""

    share: jax.Array

    def __call__(self, network: rl.Network, key: jax.Array) -> jax.Array:
        evidence, target = draw_trials(key, 4)

        def of_trial(evidence, target, key):
            trial = network, evidence * GRID.dt, GRID, target
            rate = rl.rate_loss(*trial)
            spiking = rl.expected_spiking_loss(*trial, num_probes=1, key=key)
            return (1 - self.share) * rate + self.share * spiking

        return jnp.mean(jax.vmap(of_trial)(evidence, target, jax.random.split(key, 4)))


def train_on(network: rl.Network, share: float, optimiser, num_steps: int):
    def where(network):
        layer = network.layers[0]
        own = layer.feedback
        return layer.encoder, layer.decoder, layer.bias, own.encoder, own.decoder

    return rl.fit(
        network,
        Loss(jnp.asarray(share)),
        where=where,
        optimiser=optimiser,
        num_steps=num_steps,
        key=jax.random.key(0),
    ).network


@eqx.filter_jit
def run(network: rl.Network, evidence: jax.Array, dynamics, key: jax.Array):
    def trial(arguments):
        evidence, key = arguments
        increments = evidence * GRID.dt
        return rl.simulate(network, increments, GRID, dynamics, key=key).outputs

    keys = jax.random.split(key, len(evidence))
    return jax.lax.map(trial, (evidence, keys), batch_size=16)


def score(outputs: jax.Array, sums: jax.Array) -> tuple[float, float]:
    """Root mean squared error of the report, per standard deviation of the sum, and decisions that agree."""
    report, true = np.asarray(outputs)[:, END:].mean(axis=1), np.asarray(sums)[:, -1]
    error = np.sqrt(np.mean((report - true) ** 2)) / true.std()
    return error, np.mean(np.sign(report) == np.sign(true))


def main(arguments: Sequence[str] | None = None) -> None:
    began = time.perf_counter()
    options = parse(arguments)
    png, pdf, table = _script.files(options)
    test = draw_trials(jax.random.key(options.seed + 1000), options.trials)
    rows, traces = [], []
    for seed in range(options.seed, options.seed + options.seeds):
        keys = jax.random.split(jax.random.key(seed), 3)
        rnn = train_rnn(keys[0], False, options.rnn_steps)
        rows += measure(seed, rnn, test, options, keys[1], traces)
        dense = train_rnn(keys[0], True, options.rnn_steps)
        rows += measure_ranks(seed, dense, test, options, keys[2])
    with table.open("w", newline="") as file:
        columns = ["seed", "network", "N", "rank", "error", "agree"]
        csv.writer(file).writerows([columns, *rows])
    values = gathered(rows)
    for (name, size, rank), (error, agree) in values.items():
        neurons = f"N = {size}" if size else "a rate network"
        text = f"error {mean(error)}, agreement {mean(agree)}"
        print(f"{name}, {neurons}, rank {rank}: {text}")
    with mpl.rc_context(_script.STYLE):
        figure = draw(values, traces, options)
        figure.savefig(png, dpi=200)
        figure.savefig(pdf)
    print(f"wrote {png}, {pdf}, {table}")
    print(f"total wall time {time.perf_counter() - began:.1f} s")


def parse(arguments: Sequence[str] | None):
    parser = _script.make_parser("Runs trained rate networks as spikes.")
    count = _script.count
    parser.add_argument("--seeds", type=count, default=3, help="trained networks")
    text = "steps of training of the rate networks"
    parser.add_argument("--rnn-steps", type=count, default=400, help=text)
    text = "steps of training on"
    parser.add_argument("--steps", type=count, default=30, help=text)
    parser.add_argument("--trials", type=count, default=64, help="trials of the test")
    text = "copies of each of 200 neurons"
    parser.add_argument(
        "--copies", type=count, nargs="+", default=[1, 5, 25], help=text
    )
    text = "ranks of the dense weights"
    ranks = [1, 2, 4, 8, 16, 32, 64, 100]
    parser.add_argument("--ranks", type=count, nargs="+", default=ranks, help=text)
    return _script.parse(parser, arguments, output="trained", quick=QUICK)


def shown_copies(options) -> int:
    return options.copies[len(options.copies) // 2]


def measure(seed: int, rnn: RNN, test, options, key: jax.Array, traces: list) -> list:
    """Rows of the network of rank one; for the first of them traces of a trial, too."""
    evidence, sums = test
    one, pairs = (convert(rnn, each, 1, 1 if each else 2) for each in (False, True))
    print(
        f"seed {seed}: rate_error {one.rate_error:.4f}, of pairs {pairs.rate_error:.4f}"
    )
    rows, kept = [], {"sum": sums, "RNN": jax.vmap(rnn)(evidence)[0]}
    optimiser = optax.lamb(optax.cosine_decay_schedule(0.004, options.steps))
    rate = train_on(pairs.network, 0.0, optimiser, options.steps)
    networks = {ONE: one.network, PAIRS: pairs.network, RATE: rate}

    def add(name: str, outputs: jax.Array, copies: int = 0) -> None:
        outputs = outputs - one.offset if name == ONE else outputs
        rows.append([seed, name, 2 * UNITS * copies, 1, *score(outputs, sums)])
        if copies == shown_copies(options):
            kept[name] = outputs

    add("RNN", kept["RNN"])
    for name, network in networks.items():
        add(name, run(network, evidence, rl.GeneralisedRate(), key))
    for copies in options.copies:
        networks[EXPECTED] = train_on(rate, 1 / copies, optimiser, options.steps)
        for name, network in networks.items():
            outputs = run(copied(network, copies), evidence, rl.Spiking(), key)
            add(name, outputs, copies)
    traces.append(kept)
    return rows


def measure_ranks(seed: int, rnn: RNN, test, options, key: jax.Array) -> list:
    """Rows of the dense network: the columns of singular vectors beyond a rank are zero."""
    evidence, sums = test
    rows = [[seed, "dense RNN", 0, UNITS, *score(jax.vmap(rnn)(evidence)[0], sums)]]
    full = convert(rnn, True, UNITS).network
    values = np.linalg.svd(np.asarray(rnn.weights()), compute_uv=False) ** 2

    def encoder(network):
        return network.layers[0].feedback.encoder

    copies = shown_copies(options)
    for rank in options.ranks:
        cut = encoder(full) * (jnp.arange(UNITS) < rank)
        network = eqx.tree_at(encoder, full, cut)
        lost = np.sqrt(values[rank:].sum() / values.sum())
        rows.append([seed, "dense, weights cut off", 0, rank, lost, np.nan])
        outputs = run(network, evidence, rl.GeneralisedRate(), key)
        rows.append([seed, "dense", 0, rank, *score(outputs, sums)])
        outputs = run(copied(network, copies), evidence, rl.Spiking(), key)
        size = 2 * UNITS * copies
        rows.append([seed, "dense", size, rank, *score(outputs, sums)])
    return rows


def gathered(rows: list) -> dict:
    """Errors and agreements of all seeds, by network, size and rank."""
    values: dict = {}
    for _, *case, error, agree in rows:
        errors, agreements = values.setdefault(tuple(case), ([], []))
        errors.append(error)
        agreements.append(agree)
    return values


def mean(values: Sequence[float]) -> str:
    """With the standard error over seeds."""
    spread = np.std(values, ddof=1) if len(values) > 1 else np.nan
    return f"{np.mean(values):.3f} +- {spread / np.sqrt(len(values)):.3f}"


# The figure


def draw(values: dict, traces: list, options) -> Figure:
    figure = Figure(figsize=(11, 7.2))
    figure.set_layout_engine("constrained", w_pad=0.07, h_pad=0.07)
    axes = figure.subplot_mosaic("AB;CD")
    size = 2 * UNITS * shown_copies(options)
    draw_trial(axes["A"], traces[0])
    draw_sizes(axes["B"], values, options, 0)
    draw_sizes(axes["C"], values, options, 1)
    draw_ranks(axes["D"], values, size)
    axes["B"].set(yscale="log", ylabel="error of the report (s.d. of the sum)")
    axes["C"].set(ylabel="decisions that agree with the sum", ylim=(0.48, 1.02))
    axes["C"].legend(loc="lower right")
    titles = {
        "A": f"One trial, $N$ = {size} spiking neurons",
        "B": "Pairs survive in the limit; spikes cost, and training takes it back",
        "C": "The same in decisions",
        "D": "Dense weights need many ranks",
    }
    _script.name_panels(axes, titles)
    return figure


def draw_trial(ax: Axes, trial: dict[str, jax.Array]) -> None:
    ends = np.abs(np.asarray(trial["sum"])[:, -1, 0])
    chosen = np.argsort(ends)[len(ends) * 3 // 4]
    styles = {name: (color, "-") for name, (color, _) in STYLES.items()}
    styles |= {"sum": ("black", "--"), "RNN": ("black", ":")}
    for name, outputs in trial.items():
        color, style = styles[name]
        label = {"sum": "sum of the evidence", "RNN": "RNN"}.get(name)
        times = 1e3 * GRID.times[1:]
        ax.plot(times, outputs[chosen, :, 0], style, color=color, label=label)
    ax.axvspan(1e3 * BEGIN * GRID.dt, 1e3 * END * GRID.dt, color="0.93", zorder=0)
    ax.margins(x=0.01)
    ax.set(xlabel="time (ms); evidence while grey", ylabel="report")
    ax.legend(loc="upper left", title="spikes: colours of C", alignment="left")


def draw_sizes(ax: Axes, values: dict, options, which: int) -> None:
    """Over N; rate networks at the right."""
    sizes = [2 * UNITS * copies for copies in options.copies]
    limit = 4 * sizes[-1]
    for name, (color, marker) in STYLES.items():
        means = [np.mean(values[name, size, 1][which]) for size in sizes]
        all_seeds = [values[name, size, 1][which] for size in sizes]
        errors = [np.std(v, ddof=len(v) > 1) / np.sqrt(len(v)) for v in all_seeds]
        style = dict(color=color, marker=marker, markersize=5)
        ax.errorbar(sizes, means, errors, capsize=2, label=name, **style)
        if (name, 0, 1) in values:
            ax.plot(
                limit, np.mean(values[name, 0, 1][which]), fillstyle="none", **style
            )
    level = np.mean(values["RNN", 0, 1][which])
    ax.axhline(level, color="black", linestyle=":", label="RNN")
    ax.set_xscale("log")
    ax.set_xticks([*sizes, limit], [*map(str, sizes), "∞ (rate)"])
    ax.minorticks_off()
    ax.set_xlabel("spiking neurons $N$")


def draw_ranks(ax: Axes, values: dict, size: int) -> None:
    curves = {
        ("dense, weights cut off", 0): ("weights cut off (Frobenius)", "0.6", "--"),
        ("dense", size): (f"report, {size} spiking neurons", "#D55E00", "s-"),
        ("dense", 0): ("report, generalised rate", "#0072B2", "o-"),
    }
    for key, (label, color, style) in curves.items():
        ranks = [case[2] for case in values if case[:2] == key]
        means = [np.mean(values[*key, rank][0]) for rank in ranks]
        ax.plot(ranks, means, style, color=color, markersize=4, label=label)
    level = np.mean(values["dense RNN", 0, UNITS][0])
    ax.axhline(level, color="black", linestyle=":", label="dense RNN")
    ax.set(xscale="log", yscale="log", xlabel="rank", ylabel="error")
    ax.set_xticks(ranks, [str(rank) for rank in ranks])
    ax.minorticks_off()
    ax.set_ylim(0.5 * level, 4)
    ax.legend(loc="lower left")


if __name__ == "__main__":
    main()

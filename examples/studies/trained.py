"""A trained rate network as spikes: how much of its task survives, and how much training on brings back.

The task is a perceptual decision: noisy evidence is to be added up for 0.2 s. The report is the running sum, its sign
the decision. Networks of 100 tanh units learn it as in a lab (optax, no spikes): one has weights of rank one, another
dense ones. `rl.from_rnn` makes SRM0 neurons of them, with copies of each:

    python examples/studies/trained.py              # three minutes
    python examples/studies/trained.py --quick      # for a first look

A sum is kept only by weights that are right to a few per cent: so it shows what a conversion gets wrong.

A  one trial: the sum, and spikes of 1000 neurons before and after training on
B  error of the report against N: converted with one neuron for each unit, or a pair of opposite ones; trained on
   with the loss of the generalised rate, and with the expected loss of spikes at their N
C  decisions that agree with the sum
D  the dense weights through their approximation of low rank

Writes trained.png, trained.pdf and trained.csv (a row for each network, way and N).
"""

from collections.abc import Sequence
from typing import Any

import _script
import _trained_figure
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from _rnn import GRID, RNN, TAU, UNITS, draw_trials, score, train_rnn
from _train_on import Loss, train_on
from _trained_figure import EXPECTED, ONE, ONE_RATE, PAIRS, RATE

import ratelike as rl

QUICK = dict(seeds=1, rnn_steps=60, steps=2, trials=8, copies=[1], ranks=[1])
NEURON = rl.SRM0(
    tau_m=TAU,
    escape=rl.SigmoidEscape(rate=100.0),
    refractory=rl.ExponentialRefractory(4.0, 10e-3, dead_time=4e-3, memory=40e-3),
)


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


@eqx.filter_jit
def run(network: rl.Network, evidence: jax.Array, dynamics, key: jax.Array):
    def trial(arguments):
        evidence, key = arguments
        increments = evidence * GRID.dt
        return rl.simulate(network, increments, GRID, dynamics, key=key).outputs

    keys = jax.random.split(key, len(evidence))
    return jax.lax.map(trial, (evidence, keys), batch_size=16)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    test = draw_trials(jax.random.key(options.seed + 1000), options.trials)
    rows, traces = [], []
    for seed in range(options.seed, options.seed + options.seeds):
        keys = jax.random.split(jax.random.key(seed), 3)
        rnn = train_rnn(keys[0], jnp.zeros(()), options.rnn_steps)
        rows += measure(seed, rnn, test, options, keys[1], traces)
        dense = train_rnn(keys[0], jnp.ones(()), options.rnn_steps)
        rows += measure_ranks(seed, dense, test, options, keys[2])
    columns = ["seed", "network", "N", "rank", "error", "agree"]
    _script.write_table(options, columns, rows)
    values = _trained_figure.gathered(rows)
    _trained_figure.print_table(values)
    size = 2 * UNITS * shown_copies(options)
    titles = _trained_figure.titles(size)
    with _script.picture(options, "AB;CD", titles, (11, 7.2)) as axes:
        _trained_figure.draw(axes, values, traces[0], size)


def parse(arguments: Sequence[str] | None):
    count = _script.count
    return _script.options(
        "Runs trained rate networks as spikes.",
        arguments,
        output="trained",
        quick=QUICK,
        seeds=(count, 3, "trained networks"),
        rnn_steps=(count, 400, "steps of training of the rate networks"),
        steps=(count, 25, "steps of training on"),
        trials=(count, 48, "trials of the test"),
        copies=(count, [1, 5, 25], "copies of each of 200 neurons"),
        ranks=(count, [1, 4, 32, 64, 100], "of the weights"),
    )


def shown_copies(options) -> int:
    return options.copies[len(options.copies) // 2]


def measure(seed: int, rnn: RNN, test, options, key: jax.Array, traces: list) -> list:
    """Rows of the network of rank one, and traces."""
    evidence, sums = test
    one, pairs = (convert(rnn, each, 1, 1 if each else 2) for each in (False, True))
    print(
        f"seed {seed}: rate_error {one.rate_error:.4f}, of pairs {pairs.rate_error:.4f}"
    )
    optimiser = optax.lamb(optax.cosine_decay_schedule(0.004, options.steps))

    def trained_on(network, share, offset: Any = 0.0):
        loss = Loss(jnp.asarray(share), jnp.broadcast_to(offset, 1))
        return train_on(network, loss, optimiser, options.steps)

    networks = {
        ONE: one.network,
        ONE_RATE: trained_on(one.network, 0.0, one.offset),
        PAIRS: pairs.network,
        RATE: trained_on(pairs.network, 0.0),
    }
    rows, kept = [], {"sum": sums, "RNN": jax.vmap(rnn)(evidence)[0]}

    def add(name: str, outputs: jax.Array, copies: int = 0) -> None:
        outputs = outputs - one.offset if name in (ONE, ONE_RATE) else outputs
        rows.append([seed, name, 2 * UNITS * copies, 1, *score(outputs, sums)])
        if copies == shown_copies(options):
            kept[name] = outputs

    add("RNN", kept["RNN"])
    for name, network in networks.items():
        add(name, run(network, evidence, rl.GeneralisedRate(), key))
    for copies in options.copies:
        networks[EXPECTED] = trained_on(networks[RATE], 1 / copies)
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


if __name__ == "__main__":
    main()

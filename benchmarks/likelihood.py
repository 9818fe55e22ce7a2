"""What the likelihood of recorded spikes costs, value and gradient, beside a GLM of nemos on the same spikes.

    python benchmarks/likelihood.py                       # 100 neurons for 100 s at 1 ms
    python benchmarks/likelihood.py --save spikes.npz     # and writes input and spikes
    NEMOS/bin/python benchmarks/likelihood.py --nemos spikes.npz    # in an environment with nemos

The spikes are those of SRM0, LIF or AdaptiveSRM neurons under two latents of coloured noise. nemos has no neuron with a last spike:
the comparable model is a Bernoulli GLM with filters over all past spikes and over the input, raised cosines of 100 ms (6 each),
one design matrix for each neuron. Both run in single precision on all cores, after compilation; the best of some repeats.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

DT = 1e-3
MOST_LAG = 100  # steps
NUM_BASES = 6
FEW = 5  # neurons whose log-likelihood above that of constant rates is printed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=int, default=100)
    parser.add_argument("--duration", type=float, default=100.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--save", help="a file for input and spikes")
    parser.add_argument("--nemos", help="a file that --save wrote")
    options = parser.parse_args()
    if options.nemos is not None:
        glm(options)
    else:
        neurons(options)


def timed(call: Callable, repeats: int, *arguments: object) -> tuple[float, object]:
    """The shortest time after compilation, and the value."""
    import jax

    seconds, value = [], jax.block_until_ready(call(*arguments))
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(call(*arguments))
        seconds.append(time.perf_counter() - began)
    return min(seconds), value


def neurons(options: argparse.Namespace) -> None:
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    import ratelike as rl

    key = jax.random.key(0)
    grid = rl.TimeGrid(DT, round(options.duration / DT))
    drive = rl.OrnsteinUhlenbeckDrive(2, tau=20e-3, std=1.0, key=key)
    increments = drive.increments(grid)
    encoder = 0.7 * jax.random.normal(key, (options.neurons, 2))
    for neuron in (rl.SRM0(), rl.LIF(), rl.AdaptiveSRM()):
        layer = rl.Layer(neuron, encoder, jnp.ones((options.neurons, 1)), 1.0)
        run = rl.simulate(
            rl.Network([layer]),
            increments,
            grid,
            rl.Spiking(),
            key=key,
            record={0: rl.Spikes()},
        )
        fired = jnp.asarray(run.spikes[0].activity)
        arrays, rest = eqx.partition(layer, eqx.is_inexact_array)

        def total(arrays, fired, rest=rest):
            layer = eqx.combine(arrays, rest)
            return rl.log_likelihood(layer, increments, fired, grid).sum()

        of_value, _ = timed(jax.jit(total), options.repeats, arrays, fired)
        gradient = jax.jit(jax.value_and_grad(total))
        of_both, _ = timed(gradient, options.repeats, arrays, fired)
        each = np.asarray(
            rl.log_likelihood(layer, increments, fired, grid, burn_in=MOST_LAG)
        )
        few = np.asarray(fired)[MOST_LAG:, :FEW]
        count = int(fired.sum())
        print(
            f"{type(neuron).__name__:12} {count / options.neurons / options.duration:5.1f} Hz  "
            f"{gain(each[:FEW].sum(), few):.4f} nats per spike  value {of_value:.2f} s  "
            f"value and gradient {of_both:.2f} s"
        )
        if options.save is not None and isinstance(neuron, rl.SRM0):
            np.savez_compressed(
                options.save, increments=increments, fired=np.asarray(fired)
            )


def gain(log_likelihood: float, fired: np.ndarray) -> float:
    """Log-likelihood above that of constant rates, per spike."""
    rate = fired.mean(axis=0)
    constant = len(fired) * (rate * np.log(rate) + (1 - rate) * np.log1p(-rate)).sum()
    return (log_likelihood - constant) / fired.sum()


def glm(options: argparse.Namespace) -> None:
    import jax
    import jax.numpy as jnp
    import nemos as nmo

    data = np.load(options.nemos)
    fired = data["fired"].astype(np.float32)
    x = data["increments"] / DT
    history = nmo.basis.RaisedCosineLogConv(NUM_BASES, window_size=MOST_LAG)
    stimulus = nmo.basis.RaisedCosineLogConv(NUM_BASES, window_size=MOST_LAG)
    of_input = stimulus.compute_features(x)
    observed = nmo.observation_models.BernoulliObservations()
    fits, values, both = [], [], []
    total = 0.0
    for i in range(FEW):
        features = np.concatenate([of_input, history.compute_features(fired[:, i])], 1)
        design, y = jnp.asarray(features[MOST_LAG:]), jnp.asarray(fired[MOST_LAG:, i])
        model = nmo.glm.GLM(observation_model="Bernoulli", solver_name="LBFGS")
        began = time.perf_counter()
        model.fit(design, y)
        fits.append(time.perf_counter() - began)
        chances = jnp.clip(model.predict(design), 1e-7, 1 - 1e-7)
        total += float(jnp.sum(jnp.where(y > 0, jnp.log(chances), jnp.log1p(-chances))))

        def loss(weights, design, y):
            chances = jax.nn.sigmoid(design @ weights[1:] + weights[0])
            return observed.log_likelihood(y, chances, aggregate_sample_scores=jnp.sum)

        weights = jnp.concatenate([model.intercept_, model.coef_])
        own = options.repeats, weights, design, y
        values.append(timed(jax.jit(loss), *own)[0])
        both.append(timed(jax.jit(jax.value_and_grad(loss)), *own)[0])
    print(
        f"nemos GLM, {FEW} neurons: {gain(total, fired[MOST_LAG:, :FEW]):.4f} nats per spike; of one neuron: value "
        f"{np.mean(values):.4f} s, value and gradient {np.mean(both):.4f} s, fit {np.mean(fits):.2f} s"
    )


if __name__ == "__main__":
    main()

"""What a lab has, for `trained.py`: a task, and rate networks that were trained on it without a thought of spikes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import ratelike as rl

TAU = 20e-3  # s
GRID = rl.TimeGrid(2e-3, 160)
BEGIN, END = 30, 130  # steps, of the evidence; then the report is read
UNITS = 100


class RNN(eqx.Module):
    """tau dx/dt = -x + J tanh(x) + W u, z = V tanh(x), with J = A + M N^T / units, V = v / units."""

    fixed: jax.Array  # A; not trained where it is zero
    left: jax.Array
    right: jax.Array
    input: jax.Array
    output: jax.Array

    def weights(self) -> jax.Array:
        return self.fixed + self.left @ self.right.T / UNITS

    def __call__(self, evidence: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Outputs as a membrane sees them, and activations."""
        keep, weights = np.exp(-GRID.dt / TAU), self.weights()

        def step(state, u):
            x, z = state
            rate = jnp.tanh(x)
            x = keep * x + (1 - keep) * (weights @ rate + self.input @ u)
            z = keep * z + (1 - keep) * (self.output @ rate / UNITS)
            return (x, z), (z, x)

        start = (jnp.zeros(UNITS), jnp.zeros(1))
        return jax.lax.scan(step, start, evidence)[1]


def draw_trials(key: jax.Array, trials: int) -> tuple[jax.Array, jax.Array]:
    """Noise around means that may be weak, and its running sums, (trials, time, 1) each."""
    keys = jax.random.split(key, 3)
    strengths = jnp.array([0.04, 0.08, 0.16, 0.32])
    mean = jax.random.choice(keys[0], strengths, (trials, 1, 1))
    mean = mean * jax.random.rademacher(keys[1], mean.shape, mean.dtype)
    noise = jax.random.normal(keys[2], (trials, GRID.num_steps, 1))
    steps = np.arange(GRID.num_steps)[:, None]
    evidence = mean + 0.2 * np.sqrt(TAU / GRID.dt) * noise
    evidence = jnp.where((steps >= BEGIN) & (steps < END), evidence, 0.0)
    return evidence, jnp.cumsum(evidence, axis=1) * GRID.dt / 0.1


@eqx.filter_jit
def train_rnn(key: jax.Array, dense: jax.Array, num_steps: int) -> RNN:
    """As a lab does: Adam on the squared error of trials. A dense network has weights A (1), another none (0)."""
    keys = jax.random.split(key, 6)
    shapes = (UNITS, UNITS), (UNITS, 1), (UNITS, 1), (UNITS, 1), (1, UNITS)
    arrays = [jax.random.normal(k, s) for k, s in zip(keys[1:], shapes, strict=True)]
    rnn = RNN((0.8 * dense / np.sqrt(UNITS)) * arrays[0], *arrays[1:])
    optimiser = optax.adam(optax.cosine_decay_schedule(0.02, num_steps))

    def loss(rnn, key):
        evidence, target = draw_trials(key, 32)
        rnn = eqx.tree_at(lambda r: r.fixed, rnn, dense * rnn.fixed)
        return jnp.mean((jax.vmap(rnn)(evidence)[0] - target) ** 2)

    def step(carry, key):
        rnn, state = carry
        updates, state = optimiser.update(jax.grad(loss)(rnn, key), state)
        return (eqx.apply_updates(rnn, updates), state), None

    steps = jax.random.split(keys[0], num_steps)
    return jax.lax.scan(
        step, (rnn, optimiser.init(eqx.filter(rnn, eqx.is_array))), steps
    )[0][0]


def score(outputs: jax.Array, sums: jax.Array) -> tuple[float, float]:
    """Root mean squared error of the report, per standard deviation of the sum, and decisions that agree."""
    report, true = np.asarray(outputs)[:, END:].mean(axis=1), np.asarray(sums)[:, -1]
    error = np.sqrt(np.mean((report - true) ** 2)) / true.std()
    return error, np.mean(np.sign(report) == np.sign(true))

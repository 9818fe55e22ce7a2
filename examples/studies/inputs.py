"""Inputs of one's own: a step response, a curve of rate against current (f-I), and a current from a file.

    python examples/studies/inputs.py              # some seconds

A signal x(t) is given in units of the latents: under a constant x the potential settles at bias + E x.
"""

import _script
import jax
import jax.numpy as jnp
import numpy as np

import ratelike as rl

options = _script.options(
    "Draws responses to a step, to constant currents and to a recorded current.",
    None,
    output="inputs",
    quick=dict(neurons=100),
    neurons=(_script.count, 1000, "number of neurons"),
)
file = _script.files(options)[2]
key = jax.random.key(options.seed)
ones = jnp.ones((options.neurons, 1))
network = rl.Network(
    [rl.Layer(rl.LIF(v_reset=-5.0), encoder=ones, decoder=ones, bias=0.5)]
)
grid = rl.TimeGrid(dt=0.5e-3, num_steps=600)
rate = rl.GeneralisedRate()

# Step response: 0, and from 0.1 s on 2.
step = rl.FunctionDrive(lambda t: np.where(t < 0.1, 0.0, 2.0))
limit = rl.simulate(network, step, grid, rate)
spikes = rl.simulate(network, step, grid, rl.Spiking(), key=key)


# f-I curve: the rate at the end of a run at each constant current, all at once.
def final_rate(current):
    constant = rl.SignalDrive(current[None], dt=grid.duration)
    return rl.simulate(network, constant, grid, rate).rates[0, -1]


currents = jnp.linspace(-2.0, 6.0, 17)
final_rates = jax.jit(jax.vmap(final_rate))(currents)

# A current from a file: a column of seconds, at 1 kHz, and one of x.
noise = rl.OrnsteinUhlenbeckDrive(1, tau=50e-3, std=1.0, key=key)
recorded = noise.increments(rl.TimeGrid(dt=1e-3, num_steps=300))[:, 0] / 1e-3
np.savetxt(
    file,
    np.column_stack([np.arange(300) * 1e-3, recorded]),
    delimiter=",",
    header="t,x",
)
table = np.loadtxt(file, delimiter=",")
drive = rl.SignalDrive(
    table[:, 1:], times=table[:, 0], interpolation=rl.PiecewiseLinear()
)
response = rl.simulate(network, drive, grid, rate)

titles = {"A": "Step response", "B": "f-I curve", "C": "A current from a file"}
with _script.picture(options, "ABC", titles, (10, 3)) as axes:
    runs = {"spiking": spikes, "generalised rate": limit}
    rl.plot.traces(runs, unit="Hz", ax=axes["A"]).legend()
    blue = rl.plot.COLORS["generalised"]
    axes["B"].plot(currents, final_rates, "o-", color=blue)
    axes["B"].set(xlabel="x (escape widths)", ylabel="rate (Hz)")
    rl.plot.traces({"generalised rate": response}, unit="Hz", ax=axes["C"])
    axes["C"].lines[0].set_linewidth(1.3)
    axes["C"].legend().remove()

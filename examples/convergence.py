"""Error against network size

Networks of 64 to 512 neurons a layer, each with spikes, connections and input of its own, are compared with both rate
networks of the same connections. The distance to the generalised rate falls as one over the root of the number of neurons,
that to the conventional rate levels off. Small networks get more trials, and one compiled program serves all sizes.
"""

import jax
import matplotlib.pyplot as plt

import ratelike as rl


def make_network(num_neurons, key):
    return rl.relay_network(
        rl.SRM0(), num_neurons=num_neurons, num_latents=4, depth=2, key=key
    )


study = rl.convergence(
    make_network,
    [64, 128, 256, 512],
    rl.TimeGrid(dt=1e-3, num_steps=300),
    num_trials=4,
    key=jax.random.key(0),
    burn_in=100,
)
slope = study.generalised.slope()
print(f"slope {slope.value:.2f}, 95% interval {slope.lower:.2f} to {slope.upper:.2f}")
# Every trial as a table: rl.study.to_dataset(study)

rl.plot.convergence(study, unit="s.d. of input")
plt.show()

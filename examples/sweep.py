"""A study over two parameters

Error against number of neurons, for two and for eight latents: more latents leave fewer neurons to each, and the error is
that of the root of their ratio. Every finished cell of the study is a file. Stopped and started again, it goes on; started
several times on one folder, the processes share the work.
"""

import tempfile

import jax

import ratelike as rl


def make_network(num_neurons, num_latents, *, key):
    return rl.relay_network(
        rl.SRM0(), num_neurons=num_neurons, num_latents=num_latents, depth=1, key=key
    )


latents = [2, 8]
with tempfile.TemporaryDirectory() as folder:  # a name of yours, such as "study"
    result = rl.sweep(
        make_network,
        rl.TimeGrid(dt=1e-3, num_steps=200),
        axes={"num_neurons": [64, 128, 256], "num_latents": latents},
        num_trials=4,
        key=jax.random.key(0),
        folder=folder,
        burn_in=50,
    )

for p in latents:
    study = result.convergence(num_latents=p)
    errors = study.generalised.mean()
    ratios = errors / (p / jax.numpy.array(study.sizes)) ** 0.5
    print(f"{p} latents, N = {study.sizes}: error {errors.round(3)}, ", end="")
    print(
        f"per root of p/N {ratios.round(2)}, slope {study.generalised.slope().value:.2f}"
    )
# All trials as an xarray dataset: result.dataset()

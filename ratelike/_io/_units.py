"""Names, units and meanings of what is saved."""

# The three curves of a convergence study, in their order in `Convergence`. Latents have the unit that the input gives them: with white noise,
# the s.d. of the input.
CONVERGENCE_UNITS = {
    "error_generalised": {
        "units": "1",
        "long_name": "mean absolute difference of the outputs, spiking against generalised rate network",
    },
    "error_conventional": {
        "units": "1",
        "long_name": "mean absolute difference of the outputs, spiking against conventional rate network",
    },
    "rate": {"units": "Hz", "long_name": "mean firing rate of the spiking network"},
}

AXIS_MEANINGS = {
    "num_neurons": {"units": "1", "long_name": "number of neurons per layer"},
    "num_latents": {"units": "1", "long_name": "number of latents"},
}

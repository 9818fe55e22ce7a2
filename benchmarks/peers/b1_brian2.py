"""The job B1 in Brian2, C++ standalone, on the network that `b1_ratelike.py` wrote. Called by `run.py`.

`relay`: one relay unit per layer holds the p filtered latents; a spike adds its row of the decoder, and neurons read the
latents through linked variables in the threshold. `race`: the same, with one random number per spike and not per step (the
neuron fires when its summed hazard exceeds an exponential variate). `dense`: a synapse for each pair of neurons.

The escape rate of a step is the mean of that at its two ends, of which a neuron remembers the earlier. What a layer hands on
in a step arrives in the next layer when that has finished the step: layer l is l steps late, and so are the outputs.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import brian2 as b2
import numpy as np

HAZARD = """
before : 1
now : 1
age = clip(t - lastspike, 0*ms, memory) : second
"""
ENDS_OF_STEP = """
before = now
now = exp(h)
"""
RHO = "0.5*rate*(before + now)*exp(-amplitude*exp(-age/tau))"


def total(template: str, latents: int) -> str:
    return " + ".join(template.format(k) for k in range(latents))


class Job:
    """The parameters of a run, and what all variants share."""

    def __init__(self, file: str, variant: str):
        self.data = dict(np.load(file))
        self.variant = variant
        self.num_steps, self.latents = self.data["increments"].shape
        self.depth, self.num_neurons, _ = self.data["encoders"].shape
        self.decay = np.exp(-self.data["dt"] / self.data["tau_m"])
        # What spikes add at the end of a step decays before it is seen.
        scale = (1.0 - self.decay) / self.data["dt"]
        self.gain = scale / self.num_neurons / self.decay
        second = b2.second
        self.namespace = dict(
            tau_m=float(self.data["tau_m"]) * second,
            rate=float(self.data["rate"]) * b2.Hz,
            amplitude=float(self.data["amplitude"]),
            tau=float(self.data["tau"]) * second,
            dead_time=float(self.data["dead_time"]) * second,
            memory=float(self.data["memory"]) * second,
            gain=float(self.gain),
        )

    def relay(self, external: bool) -> b2.NeuronGroup:
        drive = "x(t, {0})" if external else "0"
        equations = "\n".join(
            f"dz{k}/dt = ({drive.format(k)} - z{k})/tau_m : 1"
            for k in range(self.latents)
        )
        namespace = dict(self.namespace)
        if external:
            rates = self.data["increments"] / self.data["dt"]
            namespace["x"] = b2.TimedArray(rates, dt=b2.defaultclock.dt)
        return b2.NeuronGroup(1, equations, method="exact", namespace=namespace)

    def neurons(self, layer: int, source: b2.NeuronGroup | None) -> b2.NeuronGroup:
        """Driven by a relay, or (`source` None) by synapses onto h."""
        latents = range(self.latents)
        names = "E{0} : 1 (constant)\nD{0} : 1 (constant)\n"
        equations = "bias : 1 (constant)\n" + "".join(names.format(k) for k in latents)
        if source is None:
            equations += "dh/dt = (bias - h)/tau_m : 1\n"
        else:
            equations += "".join(f"z{k} : 1 (linked)\n" for k in latents)
            equations += f"h = bias + {total('E{0}*z{0}', self.latents)} : 1\n"
        equations += HAZARD
        race = self.variant == "race"
        if race:
            equations += "summed : 1\nendurance : 1\n"
        group = b2.NeuronGroup(
            self.num_neurons,
            equations,
            threshold="summed > endurance" if race else f"rand() < -expm1(-dt*{RHO})",
            reset="summed = 0\nendurance = -log(1 - rand())" if race else "",
            refractory="dead_time",
            method="exact",
            namespace=self.namespace,
        )
        each_step = ENDS_OF_STEP
        if race:
            group.endurance = "-log(1 - rand())"
            each_step += f"summed += dt*{RHO}*int(not_refractory)"
        group.run_regularly(each_step, when="before_thresholds")
        group.bias = self.data["bias"]
        group.now = np.exp(self.data["bias"])
        if source is None:
            group.h = self.data["bias"]
        for k in latents:
            setattr(group, f"E{k}", self.data["encoders"][layer, :, k])
            setattr(group, f"D{k}", self.data["decoders"][layer, :, k])
            if source is not None:
                setattr(group, f"z{k}", b2.linked_var(source, f"z{k}"))
        return group

    def decode(self, neurons: b2.NeuronGroup, relay: b2.NeuronGroup) -> b2.Synapses:
        updates = "\n".join(f"z{k}_post += gain*D{k}_pre" for k in range(self.latents))
        synapses = b2.Synapses(neurons, relay, on_pre=updates, namespace=self.namespace)
        synapses.connect()
        return synapses

    def dense(self, before: b2.NeuronGroup, after: b2.NeuronGroup) -> b2.Synapses:
        synapses = b2.Synapses(
            before,
            after,
            "w : 1 (constant)",
            on_pre="h_post += w",
            namespace=self.namespace,
        )
        synapses.connect()
        synapses.w = f"gain*({total('E{0}_post*D{0}_pre', self.latents)})"
        return synapses

    def build(self) -> tuple[b2.Network, b2.StateMonitor]:
        parts = []
        relay = self.relay(external=True)
        parts.append(relay)
        before = None
        for layer in range(self.depth):
            is_dense = self.variant == "dense" and before is not None
            neurons = self.neurons(layer, None if is_dense else relay)
            parts.append(neurons)
            if is_dense:
                parts.append(self.dense(before, neurons))
            last = layer == self.depth - 1
            if last or self.variant != "dense":
                relay = self.relay(external=False)
                parts += [relay, self.decode(neurons, relay)]
            before = neurons
        names = [f"z{k}" for k in range(self.latents)]
        monitor = b2.StateMonitor(relay, names, record=True, when="end")
        return b2.Network(*parts, monitor), monitor

    def error(self, monitor: b2.StateMonitor, burn_in: int = 400) -> float:
        """Mean absolute difference of the outputs to those of the generalised rate network."""
        outputs = [
            self.decay * np.asarray(getattr(monitor, f"z{k}"))[0]
            for k in range(self.latents)
        ]
        late = self.depth - 1
        outputs = np.stack(outputs, axis=1)[late:]
        expected = self.data["expected_outputs"][: len(outputs)]
        return float(np.abs(outputs - expected)[burn_in:].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", help="file of b1_ratelike.py --export")
    parser.add_argument(
        "--variant", choices=["relay", "race", "dense"], default="relay"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="OpenMP, if above 1")
    parser.add_argument("--single", action="store_true", help="single precision")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        b2.set_device("cpp_standalone", directory=folder, build_on_run=False)
        if options.threads > 1:
            b2.prefs.devices.cpp_standalone.openmp_threads = options.threads
        if options.single:
            b2.prefs.core.default_float_dtype = np.float32
        b2.seed(2)
        job = Job(options.network, options.variant)
        b2.defaultclock.dt = float(job.data["dt"]) * b2.second
        network, monitor = job.build()
        network.run(job.num_steps * b2.defaultclock.dt)
        b2.device.build(directory=folder, compile=True, run=False)
        build_time = time.perf_counter() - begin
        run_times = []
        for _ in range(options.repeats):
            b2.device.run(directory=folder, with_output=False, run_args=[])
            # Brian2's own clock, of the loop over steps alone.
            info = Path(folder, "results", "last_run_info.txt").read_text()
            run_times.append(float(info.split()[0]))
        result = dict(build_time=build_time, run_times=run_times)
        print(json.dumps(result | dict(error=job.error(monitor))))


if __name__ == "__main__":
    main()

"""Recorded spikes under the neuron model."""

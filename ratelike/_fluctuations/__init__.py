"""Finite-size fluctuations of a layer around its generalised rate, without sampling a spike."""

"""Fitting networks by gradient."""

"""Numerical tools that know nothing of neurons."""

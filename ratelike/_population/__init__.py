"""Neurons that advance together: encode, decode, add up."""

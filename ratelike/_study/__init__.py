"""Errors over network sizes, and long studies of them."""

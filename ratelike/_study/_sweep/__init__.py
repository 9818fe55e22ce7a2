"""Sweeps over parameters whose finished cells are files: what is done is never lost, and never done twice."""

"""Spiking, generalised rate, conventional rate."""

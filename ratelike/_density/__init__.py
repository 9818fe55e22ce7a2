"""The refractory density and its solvers."""

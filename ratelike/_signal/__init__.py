"""Time grids, incoming paths, and the membranes that they drive."""

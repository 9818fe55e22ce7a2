"""Files, optional libraries, and the units of what is saved."""

"""What the derivative of a sampled spike is."""

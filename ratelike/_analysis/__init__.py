"""Analysis of the limit: stationary states, linear response, stability and fluctuations of rate networks."""

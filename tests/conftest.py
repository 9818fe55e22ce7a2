import jax

# Tests compare with analytic results: float64, and no silent change of type. The library itself sets neither.
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")

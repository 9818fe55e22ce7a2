"""Files from which a long computation goes on: whole or not at all, and only for what they were written for."""

import hashlib
import json
import os
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree


def fingerprint(program: str, tree: PyTree) -> str:
    """A digest of a program's text and of the arrays that it works on."""
    digest = hashlib.sha256(program.encode())
    arrays, kinds = _without_keys(eqx.filter(tree, eqx.is_array))
    digest.update(str(kinds).encode())
    for leaf in jax.tree.leaves(arrays):
        digest.update(f"{leaf.dtype}{leaf.shape}".encode())
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def save(path: Path, mark: str, step: int, tree: PyTree) -> None:
    """Writes beside `path` and renames: a reader finds the old file or the new one, never a part of one."""
    arrays, kinds = _without_keys(tree)
    header = json.dumps({"fingerprint": mark, "step": step, "keys": kinds})
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(header.encode() + b"\n")
            eqx.tree_serialise_leaves(file, arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def saved_step(path: Path, mark: str) -> int:
    """The step of the file at `path`. Raises `ValueError` if it was written for something else."""
    header = _header(path)
    if header["fingerprint"] != mark:
        raise ValueError(
            f"checkpoint must belong to the same network, loss, optimiser, key and version of JAX: {path} was written "
            "for others; name another file, or remove it"
        )
    return header["step"]


def load(path: Path, like: PyTree) -> PyTree:
    """What `save` wrote, in the structure of `like`."""
    arrays, _ = _without_keys(like)
    kinds = _header(path)["keys"]
    with path.open("rb") as file:
        file.readline()
        arrays = eqx.tree_deserialise_leaves(file, arrays)
    leaves, structure = jax.tree.flatten(arrays)
    leaves = [
        leaf if kind is None else jax.random.wrap_key_data(leaf, impl=kind)
        for leaf, kind in zip(leaves, kinds, strict=True)
    ]
    return jax.tree.unflatten(structure, leaves)


def _header(path: Path) -> dict:
    with path.open("rb") as file:
        line = file.readline()
    try:
        header = json.loads(line)
        return {name: header[name] for name in ("fingerprint", "step", "keys")}
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"checkpoint must be a file that ratelike wrote, got {path}"
        ) from None


def _without_keys(tree: PyTree) -> tuple[PyTree, list[str | None]]:
    """Typed keys cannot be written: their data, and the names of their generators."""
    leaves, structure = jax.tree.flatten(tree)
    data, kinds = [], []
    for leaf in leaves:
        dtype = getattr(leaf, "dtype", None)
        if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key):
            data.append(jax.random.key_data(leaf))
            kinds.append(str(jax.random.key_impl(leaf)))
        else:
            data.append(leaf)
            kinds.append(None)
    return jax.tree.unflatten(structure, data), kinds

"""Files from which a long computation goes on: whole or not at all, and only for what they were written for."""

import hashlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ratelike._io._atomic import write_atomically
from ratelike._types import PyTree

KIND = b"ratelike fit 2, sha256 "  # the first line, with the digest of all that follows


def fingerprint(program: str, tree: PyTree) -> str:
    """A digest of a program's text and of the arrays that it works on."""
    digest = hashlib.sha256(program.encode())
    arrays, kinds = _without_keys(eqx.filter(tree, eqx.is_array))
    digest.update(str(kinds).encode())
    for leaf in jax.tree.leaves(arrays):
        digest.update(f"{leaf.dtype}{leaf.shape}".encode())
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def file_at(checkpoint: str | os.PathLike[str]) -> Path:
    """The path, in a folder that is there. Raises `ValueError` for what cannot be read and replaced as a file."""
    if not isinstance(checkpoint, (str, os.PathLike)):
        raise ValueError(f"checkpoint must be a path, got {checkpoint!r}")
    path = Path(checkpoint)
    if path.exists() and not path.is_file():
        raise ValueError(
            f"checkpoint must name a file, got {path}, which is a folder or a device"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(
            f"checkpoint must lie in a folder, got {path}: {path.parent} is none"
        ) from None
    return path


def save(path: Path, mark: str, step: int, tree: PyTree) -> None:
    """A reader finds the old file or the new one, never a part of one."""
    arrays, kinds = _without_keys(tree)
    content = io.BytesIO()
    header = json.dumps({"fingerprint": mark, "step": step, "keys": kinds})
    content.write(header.encode() + b"\n")
    eqx.tree_serialise_leaves(content, arrays)
    body = content.getvalue()
    write_atomically(path, _first_line(body) + b"\n" + body)


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds."""

    step: int
    keys: list[str | None]  # generators of the leaves that are random keys
    leaves: bytes

    def restore(self, like: PyTree) -> PyTree:
        """The tree that was saved, in the structure of `like`."""
        arrays, _ = _without_keys(like)
        arrays = eqx.tree_deserialise_leaves(io.BytesIO(self.leaves), arrays)
        leaves, structure = jax.tree.flatten(arrays)
        leaves = [
            leaf if kind is None else jax.random.wrap_key_data(leaf, impl=kind)
            for leaf, kind in zip(leaves, self.keys, strict=True)
        ]
        return jax.tree.unflatten(structure, leaves)


def read(path: Path, mark: str) -> Saved:
    """Raises `ValueError` for a file of another kind, a damaged one, and one that was written for something else."""
    first, _, body = path.read_bytes().partition(b"\n")
    if not first.startswith(KIND):
        raise ValueError(
            f"checkpoint must be a file that this version of ratelike wrote, got {path}; name another file, or remove it"
        )
    if first != _first_line(body):
        raise ValueError(
            f"checkpoint must be as it was written, got {path}, which does not match its checksum: it is damaged; name "
            "another file, or remove it and begin again"
        )
    header, _, leaves = body.partition(b"\n")
    facts = json.loads(header)
    if facts["fingerprint"] != mark:
        raise ValueError(
            f"checkpoint must belong to the same network, loss, optimiser, key and version of JAX: {path} was written "
            "for others; name another file, or remove it"
        )
    return Saved(facts["step"], facts["keys"], leaves)


def _first_line(body: bytes) -> bytes:
    return KIND + hashlib.sha256(body).hexdigest().encode()


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

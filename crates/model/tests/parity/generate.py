"""Pseudo-random values, identical to those of generate.rs in the Rust tests.

The hash of a name (FNV-1a, 64 bits) seeds SplitMix64; 24 bits of each step make a number of
[0, 1) that is exact in 64-bit arithmetic.
"""

import numpy as np
import torch

MASK = (1 << 64) - 1


def uniform(name, shape, low, high):
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & MASK
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    unit = (z >> np.uint64(40)).astype(np.float64) / float(1 << 24)
    return torch.from_numpy((low + (high - low) * unit).astype(np.float32).reshape(shape))


def image(height, width):
    """A normalised noise image: (1, 3, height, width)."""
    return uniform(f"image {height}x{width}", (1, 3, height, width), -2.0, 2.0)


TOKENS = (
    "cls_token",
    "pos_embed",
    "position_embeddings",
    "register_tokens",
    "storage_tokens",
    "mask_token",
    "queries",
)


def weight(name, shape):
    """Weights of a transformer or a head by name; no bias, norm, scale or token is zero or one."""
    last = name.rsplit(".", 1)[-1]
    if last in TOKENS:
        return uniform(name, shape, -0.8, 0.8)
    if last in ("gamma", "lambda1"):
        return uniform(name, shape, 0.3, 0.9)
    if last == "p":
        return uniform(name, shape, 2.5, 3.5)
    if last == "running_var":
        return uniform(name, shape, 0.7, 1.3)
    if last == "bias_mask":
        return uniform(name, shape, 0.0, 1.0)
    if last == "periods":
        return uniform(name, shape, 1.0, 40.0)
    if len(shape) > 1:
        bound = (3.0 / int(np.prod(shape[1:]))) ** 0.5
        return uniform(name, shape, -bound, bound)
    if last == "weight":
        return uniform(name, shape, 0.7, 1.3)
    return uniform(name, shape, -0.2, 0.2)


def fill(model):
    """Gives a model generated weights; returns the shapes of its state by name."""
    state = model.state_dict()
    model.load_state_dict({name: weight(name, tuple(value.shape)) for name, value in state.items()})
    model.eval()
    return {name: list(value.shape) for name, value in state.items()}

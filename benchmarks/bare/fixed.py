"""Run the samples in NumPy's integers and save the outputs, as a user would by hand."""

import sys

import numpy as np

weights, samples, folder = sys.argv[1:]
held = dict(np.load(weights))


def requantize(sums: np.ndarray, before: str, layer: str) -> np.ndarray:
    """Scale 32-bit sums into unsigned bytes."""
    scale = held[f"{before}_scale"] * held[f"{layer}/kernel_scale"] / held[f"{layer}_scale"]
    scaled = np.rint(sums.astype(np.float32) * scale) + held[f"{layer}_zero_point"]
    return np.clip(scaled, 0, 255).astype(np.uint8)


def convolve(x: np.ndarray, before: str, layer: str) -> np.ndarray:
    """Convolve (channels, height, width) with padding that keeps the size; ReLU is in the scale."""
    kernel = held[f"{layer}/kernel_quantized"].astype(np.int32)
    size = kernel.shape[-1]
    padded = np.pad(x.astype(np.int32), ((0, 0), (size // 2,) * 2, (size // 2,) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    sums = np.tensordot(kernel, windows, axes=([1, 2, 3], [0, 3, 4]))
    return requantize(sums + held[f"{layer}/bias_quantized"][:, None, None], before, layer)


def pool(x: np.ndarray) -> np.ndarray:
    """Take the highest of each 2 x 2 square."""
    channels, height, width = x.shape
    return x.reshape(channels, height // 2, 2, width // 2, 2).max(axis=(2, 4))


def multiply(x: np.ndarray, before: str, layer: str) -> np.ndarray:
    """Multiply a vector with a layer's matrix."""
    centred = x.astype(np.int32) - held[f"{before}_zero_point"]
    sums = centred @ held[f"{layer}/kernel_quantized"].astype(np.int32)
    return requantize(sums + held[f"{layer}/bias_quantized"], before, layer)


def infer(image: np.ndarray) -> np.ndarray:
    """Take a picture of shape (32, 32, 3) to ten probabilities."""
    scale = held["image/Transpose_scale"]
    x = np.clip(np.rint(image.transpose(2, 0, 1) / scale), 0, 255).astype(np.uint8)
    x = pool(convolve(x, "image/Transpose", "conv1"))
    x = pool(convolve(x, "conv1", "conv2")).transpose(1, 2, 0).reshape(-1)
    for before, layer in (("conv2", "dense1"), ("dense1", "dense2"), ("dense2", "dense3")):
        x = multiply(x, before, layer)
    logits = (x.astype(np.float32) - held["dense3_zero_point"]) * held["dense3_scale"]
    powers = np.exp(logits - logits.max())
    shares = np.rint(powers / powers.sum() / held["softmax_scale"]).clip(0, 255)
    return (shares * held["softmax_scale"])[None]


for index, sample in enumerate(np.load(samples)):
    np.save(f"{folder}/fixed-{index}.npy", infer(sample))

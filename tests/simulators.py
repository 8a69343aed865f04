"""Objectives for other processes, which import this and no JAX."""

import os
import time

import numpy as np


def exact(x):
    """`variants.exact` in NumPy."""
    return np.sum(np.round(64 * (np.clip(x, -9, 9) - np.float32(0.5))) ** 2)


def dangerous(x, path):
    """Ends its process in one part of the box, never ends in another, and raises in a third. It also ends its process when it
    is called first, which the file at `path` then tells."""
    if not os.path.exists(path):
        open(path, "x").close()
        os._exit(4)
    if x[0] > 1.8:
        os._exit(3)
    if x[0] < -1.8:
        time.sleep(1000)
    if x[1] > 1.5:
        raise OSError("no licence")
    return exact(x)


def failing(x):
    """The same without danger."""
    if abs(x[0]) > 1.8 or x[1] > 1.5:
        raise OSError("no licence")
    return exact(x)

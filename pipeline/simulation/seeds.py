"""Random numbers by name. Each unit and each recording has its own stream, so the order of drawing does not matter."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """The purpose of a stream of random numbers. The numbers are part of the format: add new ones, never change one."""

    FLEET = 1
    COURSE = 2
    UNIT = 3
    PATH = 4
    SCHEDULE = 5
    RECORDING = 6
    WAVEFORM = 7
    CHANNEL = 8
    SENSOR = 9
    FINDING = 10


def generator(seed: int, world: str, stream: Stream, *keys: int) -> np.random.Generator:
    """Return the random generator of one thing.

    Parameters
    ----------
    seed : int
        Seed of the fleet.
    world : str
        Name of the world; two worlds never share a stream.
    stream : Stream
        Purpose of the stream.
    *keys : int
        Number of the thing: axis, day, slot, ... (each 0 or more).

    Returns
    -------
    numpy.random.Generator
        PCG64 seeded by `SeedSequence([seed, world, stream, *keys])`.
    """
    entropy = [seed, *(ord(letter) for letter in world), int(stream), *keys]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))

"""Random numbers by name: every unit and every recording has a stream of its own, whoever draws first."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What a stream of random numbers decides. Numbers are part of the format: append, never renumber."""

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
    """Open the random stream of one thing.

    Parameters
    ----------
    seed : int
        Seed of the fleet.
    world : str
        Name of the world; two worlds never share a stream.
    stream : Stream
        What is drawn.
    *keys : int
        Which one: axis, day, slot, ... (0 or more each).

    Returns
    -------
    numpy.random.Generator
        PCG64 seeded by `SeedSequence([seed, world, stream, *keys])`.
    """
    entropy = [seed, *(ord(letter) for letter in world), int(stream), *keys]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))

"""Which seeds there are, and others made of them for generators that are begun anew at each step of a training."""

from collections.abc import Sequence

from mind2mind.errors import ConfigError

SEEDS = 2**32  # seeds are below


def check_seeds(seeds: Sequence[int]) -> list[int]:
    """Seeds as plain numbers; ConfigError if one is not from 0 to 2**32 - 1."""
    if bad := [seed for seed in seeds if not 0 <= int(seed) < SEEDS]:
        raise ConfigError(f"{bad[0]} is no seed.", f"Seeds are whole numbers from 0 to {SEEDS - 1}.")
    return [int(seed) for seed in seeds]


def mixed(seed: int, number: int) -> int:
    """One well spread 63 bit seed from two numbers (splitmix64); torch's CPU generator takes its low 32 bits."""
    x = (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return (x ^ (x >> 31)) >> 1

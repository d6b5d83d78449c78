"""Seeds for generators that are begun anew at each step of a training."""


def mixed(seed: int, number: int) -> int:
    """One well spread 63 bit seed from two numbers (splitmix64); torch's CPU generator takes its low 32 bits."""
    x = (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return (x ^ (x >> 31)) >> 1

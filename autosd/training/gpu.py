"""The memory of a GPU that a process shares with others: its limit, and what it has used."""

import torch


def begin(share: float, beside: int) -> None:
    """Begin a job: what is left of the one before is freed, and nothing counts as used yet.

    Args:
        share: of the current GPU; torch allocates no more, but fails as out of memory instead.
        beside: bytes that the process takes beside what torch allocates.
    """
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    total = torch.cuda.get_device_properties().total_memory
    torch.cuda.set_per_process_memory_fraction(limit(share, beside, total))


def limit(share: float, beside: int, total: int) -> float:
    """What torch may allocate of a GPU of `total` bytes; all of it where nobody else does."""
    return 1.0 if share >= 1 else max(0.0, share - beside / total)


def peak() -> int:
    """The most bytes that torch has reserved on the current GPU since `begin`."""
    return torch.cuda.max_memory_reserved()


def total() -> int:
    """Bytes of the current GPU."""
    return int(torch.cuda.get_device_properties().total_memory)

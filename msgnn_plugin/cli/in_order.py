"""Several pieces of work at a time, results in the order of the inputs."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def run_in_order(function: Callable[[T], R], items: Iterable[T], jobs: int) -> Iterator[R]:
    """Apply a function to items, in as many threads as told, which share the processor's cores among them.

    Items are taken from their source only as they are needed, at most ``jobs`` at a time. Where the caller stops early
    or is interrupted, what has begun is ended and nothing more is begun.

    Args:
        function: What to do; may be called in several threads at a time.
        items: What to do it with.
        jobs: Threads, at least 1, which means the caller's own.

    Yields:
        One result an item, in order.
    """
    if jobs == 1:
        yield from map(function, items)
        return
    import torch

    threads = max(torch.get_num_threads() // jobs, 1)
    with ThreadPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
        begun = deque()
        try:
            for item in items:
                begun.append(pool.submit(function, item))
                if len(begun) == jobs:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()

"""The progress bar that commands draw on the error stream."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar() -> Iterator[tuple[Callable[[str, int], None], Callable[[int], None], Callable[[str], None]]]:
    """Draw a bar for each stretch of work, on a terminal only.

    Yields:
        A function that begins a stretch (what it is, how many steps; 0 for a number not known), one that says how many
        steps more of it are done, and one that prints a sentence above the bar, in one line however long it is.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def begin(what: str, total: int) -> None:
            progress.add_task(what, total=total or None)

        def advance(count: int) -> None:
            progress.advance(progress.task_ids[-1], count)

        def tell(sentence: str) -> None:
            console.print(sentence, soft_wrap=True, markup=False, highlight=False)

        yield begin, advance, tell

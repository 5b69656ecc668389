"""Tables as commands print them: drawn on a terminal, or as Markdown."""

import html
from collections.abc import Iterable, Sequence

# In place of the 80 that stand for "unknown" where the output goes to a file: these would cut numbers off.
_WIDTH = 200


def print_table(
    title: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]], notes: Iterable[str]
) -> None:
    """Draw a table on the standard output, and below it notes in a list.

    Args:
        title: What stands above it.
        columns: Each column's name, and "left" or "right" for where its cells stand.
        rows: The cells.
        notes: Sentences.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _WIDTH
    drawn = Table(title=title, title_justify="left")
    for name, side in columns:
        drawn.add_column(name, justify=side, no_wrap=True)
    for cells in rows:
        drawn.add_row(*cells)
    console.print(drawn)
    for note in notes:
        console.print(f"- {note}")


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; the first row holds the columns' names."""
    lines = ["| " + " | ".join(map(markdown_text, row)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def markdown_text(text: str) -> str:
    """Escape what would be markup, or end a table's cell or line."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#" else letter for letter in escaped)

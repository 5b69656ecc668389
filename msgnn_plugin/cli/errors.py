"""How an error is told to a user: one sentence."""

from pathlib import Path


def sentence(error: Exception) -> str:
    """Return an error's own sentence, without a data loader's traceback around it or the system's error number."""
    text = str(error).strip()
    if text.startswith("Caught ") and "DataLoader worker" in text.partition("\n")[0]:
        text = text.splitlines()[-1].partition(": ")[2]
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = (
            f"{error.filename} must be a path to read or write, got: {error.strerror}. Check the path and its rights."
        )
    return text


def name_once(error: Exception, source: Path) -> str:
    """Return an error's sentence on one line, with the file it is about in front unless it says so itself."""
    text = " ".join(sentence(error).split()) or "the memory does not suffice"
    return text if str(source) in text else f"{source}: {text}"

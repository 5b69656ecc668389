"""How an error is told to a user: one sentence."""


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

"""What vision-language judges are asked. A prompt is never changed: a better one gets the next version."""

PROMPTS = {
    "1": (
        "The first picture is one of a training set for removing rain from photographs. The {count} others are real "
        "photographs taken in rain. The first is said to show: {caption}. Judge the first picture alone: does its rain "
        "look like rain that a camera could have taken, by its shape, direction, brightness and blur, and is the "
        "scene undamaged? Answer with one word, YES or NO."
    ),
    "1-alone": (
        "The picture is one of a training set for removing rain from photographs. It is said to show: {caption}. Does "
        "its rain look like rain that a camera could have taken, by its shape, direction, brightness and blur, and is "
        "the scene undamaged? Answer with one word, YES or NO."
    ),
}


def ask(version: str, caption: str, count: int) -> str:
    """Return the question about a picture and ``count`` references.

    Raises:
        ValueError: If there is no such version.
    """
    if version not in PROMPTS or version.endswith("-alone"):
        known = ", ".join(name for name in PROMPTS if not name.endswith("-alone"))
        raise ValueError(f"distill: `judges.prompt` must be one of {known}, got {version!r}.")
    return PROMPTS[version if count else f"{version}-alone"].format(caption=caption, count=count)


def parse(answer: object) -> bool | None:
    """Return what an answer says, None unless it is the one word that was asked for."""
    word = answer.strip().strip(".!*\"'`").lower() if isinstance(answer, str) else ""
    return {"yes": True, "no": False}.get(word)

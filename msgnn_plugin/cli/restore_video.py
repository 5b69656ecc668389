"""A video through a restorer: frame by frame into finished parts, which a run that was stopped goes on from."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from msgnn_plugin.cli.in_order import run_in_order
from msgnn_plugin.data.atomic import atomic_path, write_bytes_atomic
from msgnn_plugin.data.image_file import Picture
from msgnn_plugin.data.lock import sole_use
from msgnn_plugin.data.video_reading import Frame, read_form, read_frames
from msgnn_plugin.data.video_writing import join_parts, write_part

if TYPE_CHECKING:
    from msgnn_plugin.restoration import Restorer

# Frames of a part: what a stopped run loses at most. Each begins with a whole picture, as films have once a second.
PART_FRAMES = 24
_MARK_FILE, _LOCK_FILE = "made-from.txt", "lock"


def restore_video(
    restorer: "Restorer",
    source: Path,
    output: Path,
    *,
    mark: str,
    crf: int,
    rounding: str,
    jobs: int,
    begin: Callable[[str, int], None],
    advance: Callable[[int], None],
    tell: Callable[[str], None],
) -> None:
    """Restore a video; finished parts lie in the hidden folder ``.NAME.parts`` beside the result until they are joined.

    Args:
        restorer: What to put each frame through.
        source: The video.
        output: Where the result goes.
        mark: Words that tell source and settings; parts with the same are gone on from, others are dropped.
        crf: Constant rate factor of x264.
        rounding: "nearest" or "truncate".
        jobs: How many frames are restored at a time.
        begin: Called with a description and the number of frames, 0 for one not known.
        advance: Called with how many frames more are done.
        tell: Called with a sentence on where an earlier run is gone on from.

    Raises:
        ValueError: If the video is damaged, or its sound does not fit the result's format.
        OSError: If a file cannot be read or written, or another run is at work on the same result.
        MemoryError: If the memory does not suffice for a frame.
    """
    form = read_form(source)
    folder = output.with_name(f".{output.name}.parts")
    joined = folder / f"joined{output.suffix}"
    busy = f"{source}: another run is restoring this video into {output.parent}; wait for it or end it."
    with sole_use(folder / _LOCK_FILE, busy):
        parts = _finished_parts(folder, mark, source, tell)
        skip = PART_FRAMES * len(parts)
        done = min(skip, form.frames or skip)  # the last part may be shorter
        begin(source.name, form.frames)
        if parts:
            advance(done)
            tell(f"{source}: going on after the {done} frames that are done.")

        def work(frame: Frame) -> Frame:
            return replace(frame, rgb=fixed(Picture(frame.rgb), source))

        def counted(frames: Iterator[Frame]) -> Iterator[Frame]:
            for frame in frames:
                yield frame
                advance(1)

        try:
            with closing(read_frames(source, form)) as frames:
                fixed = restorer.for_video(next(frames).rgb)
            with (
                closing(read_frames(source, form, skip=skip)) as frames,
                closing(run_in_order(work, frames, jobs)) as derained,
            ):
                left = counted(derained)
                while (first := next(left, None)) is not None:
                    part = folder / f"{len(parts):06}.nut"
                    with atomic_path(part) as temporary:
                        several = chain([first], islice(left, PART_FRAMES - 1))
                        write_part(temporary, several, form, crf=crf, rounding=rounding)
                    if not parts:  # a format that does not take the sound is told now, not after hours
                        join_parts(joined, [part], source, mark=mark, header_only=True)
                        joined.unlink()
                        write_bytes_atomic(folder / _MARK_FILE, mark.encode())
                    parts.append(part)
        except BaseException:
            if not parts:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        with atomic_path(joined) as temporary:
            join_parts(temporary, parts, source, mark=mark)
        os.replace(joined, output)
        shutil.rmtree(folder)


def _finished_parts(folder: Path, mark: str, source: Path, tell: Callable[[str], None]) -> list[Path]:
    """Return the parts that an earlier run has left, those of other settings removed."""
    marker = folder / _MARK_FILE
    if not (marker.is_file() and marker.read_text() == mark):
        if marker.is_file():
            tell(f"{source}: starting anew, for what was begun has other settings or is of another file of that name.")
        for left in folder.iterdir():
            if left.name != _LOCK_FILE:
                left.unlink()
    parts = []
    while (part := folder / f"{len(parts):06}.nut").is_file():
        parts.append(part)
    return parts

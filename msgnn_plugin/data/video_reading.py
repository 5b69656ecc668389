"""Read the frames of a video one at a time, each exactly once, with its own time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

# Formats whose header tells the duration, so that a file cut short can be known; elsewhere it is a guess from the end.
_HONEST_FORMATS = frozenset({"mov", "mp4", "matroska", "webm", "avi"})
_MOST_MISSING = 0.5  # seconds; headers round, and sound may end a little early
_BT709, _LIMITED = 1, 1  # FFmpeg's codes
_MAX_PIXELS = 178_956_970  # as for pictures
# Bicubic, rounded accurately, colours at full width. FFmpeg's own numbers: PyAV 17, the last for Python 3.10, has no
# names for all of them.
SCALER = 0x4 | 0x40000 | 0x2000 | 0x4000


@dataclass(frozen=True)
class Colour:
    """How a video's numbers mean colours, as FFmpeg's own codes: copied, never changed."""

    matrix: int
    full_range: int
    primaries: int
    transfer: int


@dataclass(frozen=True)
class VideoForm:
    """What a video like another one must have.

    Attributes:
        width: Pixels of an upright frame.
        height: Pixels of an upright frame.
        rotation: Degrees, a multiple of 90 in [-180, 180], that turn stored frames upright, anticlockwise.
        pixel_format: FFmpeg's name of how the source stores pixels.
        bit_depth: Bits a channel, 8 or above.
        colour: What its numbers mean.
        aspect: Width to height of a stored pixel; None if the source does not say.
        time_base: Unit of all times, in seconds.
        rate: Frames a second, on average.
        frames: About how many frames there are, 0 if nothing tells.
    """

    width: int
    height: int
    rotation: int
    pixel_format: str
    bit_depth: int
    colour: Colour
    aspect: Fraction | None
    time_base: Fraction
    rate: Fraction
    frames: int


@dataclass(frozen=True)
class Frame:
    """One frame, upright.

    Attributes:
        rgb: RGB in [0, 1], shape (H, W, 3), float32.
        time: When it is shown, in units of the form's ``time_base``; larger than that of the frame before.
        duration: How long, in the same units, as the source says, else by its rate; at least 1.
    """

    rgb: NDArray[np.float32]
    time: int
    duration: int


def read_form(path: str | Path) -> VideoForm:
    """Read what a video is like, from its header and its first frame.

    Args:
        path: The file.

    Raises:
        ValueError: If it is no video that can be decoded.
        OSError: If it cannot be read from the disk.
    """
    with _decoded(path) as (stream, packets):
        first = next((frame for packet in packets for frame in packet.decode()), None)
        if first is None:
            raise ValueError(f"{path}: a video must have at least one frame that can be decoded, got none.")
        return _form_of(stream, first, path)


def read_frames(path: str | Path, form: VideoForm, skip: int = 0) -> Iterator[Frame]:
    """Read a video's frames in the order they are shown; only those in work are in memory.

    Args:
        path: The file.
        form: What `read_form` gave for it.
        skip: How many frames to leave out at the start; they are decoded, for no seek is exact in every format.

    Yields:
        Every frame after those.

    Raises:
        ValueError: If the file is cut short or damaged, or its frames change their size.
        OSError: If it cannot be read from the disk.
    """
    step = max(round(1 / (form.rate * form.time_base)), 1)
    number, previous, expected = 0, -1, 0
    with _decoded(path) as (_, packets):
        for packet in packets:
            for frame in packet.decode():
                # Some files lack times, or repeat one; no frame may be lost for that.
                time = expected if frame.pts is None else frame.pts
                if number > 0 and time <= previous:
                    time = previous + 1
                previous = time
                duration = max(frame.duration or step, 1)
                expected = time + duration
                if number >= skip:
                    yield Frame(_upright_rgb(frame, form, path), time, duration)
                number += 1


@contextmanager
def _decoded(path: str | Path) -> Iterator[tuple[av.VideoStream, Iterator[av.Packet]]]:
    """Open a video; yield its stream and the packets to decode, after which the file is known to be whole."""
    with telling(path), av.open(str(path), metadata_errors="replace") as container:
        stream = find_stream(container, path)
        stream.thread_type = "AUTO"
        yield stream, _whole_packets(container, stream, path)


@contextmanager
def telling(path: str | Path, written: Path | None = None) -> Iterator[None]:
    """Turn FFmpeg's errors into one sentence: on the video at ``path``, or where the disk fails on what is written."""
    try:
        yield
    except av.FFmpegError as error:
        if isinstance(error, OSError) and not isinstance(error, (ValueError, EOFError)):
            raise OSError(error.errno, error.strerror, str(written or path)) from error
        raise ValueError(
            f"{path}: the file must be a whole video, got one that is cut short, damaged or something else "
            f"({error.strerror})."
        ) from error


def find_stream(container: av.container.InputContainer, path: str | Path) -> av.VideoStream:
    """Return the first stream of moving pictures; covers of music do not count.

    Raises:
        ValueError: If there is none.
    """
    cover = av.stream.Disposition.attached_pic
    stream = next((stream for stream in container.streams.video if not stream.disposition & cover), None)
    if stream is None or stream.codec_context is None:
        raise ValueError(f"{path}: the file must have a video stream that can be decoded, got none.")
    return stream


def _whole_packets(
    container: av.container.InputContainer, stream: av.VideoStream, path: str | Path
) -> Iterator[av.Packet]:
    end = Fraction(0)
    for packet in container.demux():
        if packet.is_corrupt:
            raise ValueError(f"{path}: the file must be a whole video, got one that is cut short or damaged.")
        if packet.pts is not None and packet.time_base:
            end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
        if packet.stream.index == stream.index:
            yield packet
    if container.duration is not None and _HONEST_FORMATS & set(container.format.name.split(",")):
        stated = Fraction(container.duration + (container.start_time or 0), av.time_base)
        if end < stated - _MOST_MISSING:
            raise ValueError(
                f"{path}: the file must hold the {float(stated):.1f} seconds that it states, got {float(end):.1f}: it "
                "is cut short. Copy it again, or mend it by a tool that rewrites its header."
            )


def _form_of(stream: av.VideoStream, frame: av.VideoFrame, path: str | Path) -> VideoForm:
    rotation = 90 * round(frame.rotation / 90)
    width, height = (frame.height, frame.width) if rotation % 180 else (frame.width, frame.height)
    if width * height > _MAX_PIXELS:
        raise ValueError(f"{path}: a frame must have at most {_MAX_PIXELS:,} pixels, got {width} x {height}.")
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    whole = Fraction(stream.container.duration or 0, av.time_base)
    seconds = stream.duration * stream.time_base if stream.duration else whole
    return VideoForm(
        width=width,
        height=height,
        rotation=rotation,
        pixel_format=frame.format.name,
        bit_depth=max(component.bits for component in frame.format.components),
        colour=_colour_of(stream, frame),
        aspect=stream.sample_aspect_ratio or None,
        time_base=stream.time_base,
        rate=rate,
        frames=stream.frames or round(seconds * rate),
    )


def _colour_of(stream: av.VideoStream, frame: av.VideoFrame) -> Colour:
    context = stream.codec_context
    if frame.format.is_rgb:  # will be stored as Y, U and V, which need a matrix
        return Colour(_BT709, _LIMITED, context.color_primaries, context.color_trc)
    return Colour(context.colorspace, context.color_range, context.color_primaries, context.color_trc)


def _upright_rgb(frame: av.VideoFrame, form: VideoForm, path: str | Path) -> NDArray[np.float32]:
    deep = form.bit_depth > 8
    rgb = frame.reformat(format="rgb48le" if deep else "rgb24", interpolation=SCALER, threads=1).to_ndarray()
    rgb = np.rot90(rgb, form.rotation // 90)
    if rgb.shape[:2] != (form.height, form.width):
        raise ValueError(
            f"{path}: all frames must have the first one's {form.width} x {form.height} pixels, got "
            f"{rgb.shape[1]} x {rgb.shape[0]} at {frame.time:.2f} seconds."
        )
    return rgb.astype(np.float32) / np.float32(65535 if deep else 255)

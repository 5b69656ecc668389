"""Write a video in parts that join without being encoded again, and put the source's sound beside them."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from msgnn_plugin.data.image_file import to_steps
from msgnn_plugin.data.video_reading import SCALER, Frame, VideoForm, find_stream, telling

_CODEC = "libx264"
_MARK_KEY = "comment"


def write_part(path: Path, frames: Iterable[Frame], form: VideoForm, *, crf: int, rounding: str) -> None:
    """Encode frames as H.264 into a file that stands for itself and can be joined with others of the same form.

    There are no B-frames, so packets follow one another in time across the joints too.

    Args:
        path: Where to, a NUT file: that format keeps any unit of time.
        frames: One after another; only those that the encoder looks ahead at are kept.
        form: What the source is like.
        crf: Constant rate factor of x264, 0 (best, and free of loss for 8 bits) to 51.
        rounding: "nearest" or "truncate", as for pictures.

    Raises:
        OSError: If it cannot be written.
    """
    pixel_format = _pixel_format(form)
    deep = form.bit_depth > 8
    with telling(path), av.open(str(path), "w", format="nut") as container:
        stream = container.add_stream(_CODEC, rate=form.rate, options={"crf": str(crf), "preset": "medium", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = form.width, form.height, pixel_format
        context = stream.codec_context
        context.time_base = form.time_base
        context.colorspace, context.color_range = form.colour.matrix, form.colour.full_range
        context.color_primaries, context.color_trc = form.colour.primaries, form.colour.transfer
        if form.aspect is not None:
            context.sample_aspect_ratio = 1 / form.aspect if form.rotation % 180 else form.aspect
        for frame in frames:
            values = to_steps(frame.rgb, np.uint16 if deep else np.uint8, rounding)
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(values), "rgb48le" if deep else "rgb24")
            image.colorspace, image.color_range = form.colour.matrix, form.colour.full_range
            image = image.reformat(format=pixel_format, interpolation=SCALER, threads=1)
            image.pts, image.time_base, image.duration = frame.time, form.time_base, frame.duration
            container.mux(stream.encode(image))
        container.mux(stream.encode())


def join_parts(output: Path, parts: Sequence[Path], source: Path, *, mark: str, header_only: bool = False) -> None:
    """Put parts one behind the other, and beside them the source's sound and subtitles, all as they are.

    Args:
        output: Where to; its suffix says the format.
        parts: What `write_part` wrote, in order.
        source: The video that they are from.
        mark: Words to keep in the file's comment, behind the source's own.
        header_only: Write no packets: tells early whether the format takes the source's sound.

    Raises:
        ValueError: If the format does not take the sound, or a file is damaged.
        OSError: If it cannot be written.
    """
    with (
        telling(source, written=output),
        av.open(str(source), metadata_errors="replace") as origin,
        av.open(str(output), "w") as joined,
        av.open(str(parts[0])) as first,
    ):
        picture = joined.add_stream_from_template(first.streams.video[0], opaque=True)
        picture.codec_context.framerate = find_stream(origin, source).average_rate or 0
        copies = {stream.index: _copy_of(stream, joined, source) for stream in origin.streams if _is_kept(stream)}
        joined.metadata.update(origin.metadata)
        comment = _comment_of(origin)
        joined.metadata[_MARK_KEY] = f"{comment} | {mark}" if comment else mark
        joined.start_encoding()
        if header_only:
            return
        # Lazily and by time: a muxer holds back whatever comes too early for its neighbours.
        packets = heapq.merge(_pictures(parts, picture), _copied(origin, copies), key=_time_of)
        shift = Fraction(max(origin.start_time or 0, 0), av.time_base)
        for packet in packets:
            ticks = round(shift / packet.time_base)
            packet.dts -= ticks
            packet.pts -= ticks
            joined.mux(packet)


def read_video_mark(path: Path) -> str:
    """Return the comment of a video, the empty string if there is none or no such video."""
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            return _comment_of(container)
    except (av.FFmpegError, OSError):
        return ""


def _is_kept(stream: av.stream.Stream) -> bool:
    return stream.type in ("audio", "subtitle") and stream.codec_context is not None


def _copy_of(stream: av.stream.Stream, joined: av.container.OutputContainer, source: Path) -> av.stream.Stream:
    try:
        copy = joined.add_stream_from_template(stream, opaque=True)
    except ValueError as error:
        raise ValueError(
            f"{source}: the result's format, {joined.format.name}, must take the source's {stream.type}, got "
            f"{stream.codec_context.name}; give the source the name ending .mkv, whose results take anything."
        ) from error
    copy.metadata.update(stream.metadata)
    return copy


def _comment_of(container: av.container.InputContainer) -> str:
    # Matroska spells its keys in capitals.
    return next((value for key, value in container.metadata.items() if key.lower() == _MARK_KEY), "")


def _pictures(parts: Sequence[Path], stream: av.VideoStream) -> Iterator[av.Packet]:
    """Yield the packets of all parts, each with the time until the next one as its duration."""
    held = None
    for part in parts:
        with av.open(str(part)) as container:
            for packet in container.demux(video=0):
                if packet.dts is None:  # the end of a part
                    continue
                packet.stream = stream
                if held is not None:
                    held.duration = packet.pts - held.pts
                    yield held
                held = packet
    yield held


def _copied(container: av.container.InputContainer, copies: dict[int, av.stream.Stream]) -> Iterator[av.Packet]:
    if not copies:
        return
    for packet in container.demux([container.streams[index] for index in copies]):
        if packet.size and packet.pts is not None:
            packet.stream = copies[packet.stream.index]
            packet.dts = packet.pts if packet.dts is None else packet.dts
            yield packet


def _time_of(packet: av.Packet) -> Fraction:
    return packet.dts * packet.time_base


def _pixel_format(form: VideoForm) -> str:
    """Return the source's pixel format where x264 takes it; an odd side needs one that does not halve its colours."""
    deep = "10le" if form.bit_depth > 8 else ""
    if form.width % 2 or form.height % 2:
        return f"yuv444p{deep}"
    known = {known.name for known in av.Codec(_CODEC, "w").video_formats}
    return form.pixel_format if form.pixel_format in known else f"yuv420p{deep}"

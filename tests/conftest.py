"""Fixtures that several folders of tests share."""

import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture
def repository() -> Path:
    """The checkout's root."""
    return ROOT


@pytest.fixture
def shared() -> Path:
    """Reference material that does not ship; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared")
    return SHARED


@pytest.fixture
def page_commands():
    """Read the commands of a page in docs: each one's words after `basicsr`, comments left out."""

    def read(page):
        text = (ROOT / "docs" / page).read_text().replace("\\\n", " ")
        return [shlex.split(line, comments=True)[1:] for line in text.splitlines() if line.startswith("basicsr ")]

    return read


@pytest.fixture
def make_pair():
    """Make a rainy and a clean picture, RGB uint8 (H, W, 3): structure at all scales, shapes, thin bright streaks."""
    import cv2
    import numpy as np

    def make(seed, size=(96, 144), rain_seed=None):
        generator = np.random.default_rng(seed)
        values = np.zeros((*size, 3), np.float32)
        for cells in (3, 6, 12, 24, 48):
            noise = generator.normal(size=(cells, cells, 3)).astype(np.float32)
            values += cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC) * 60 / cells**0.5
        values = np.clip(values + 110, 0, 255)
        for _ in range(6):
            centre = tuple(int(generator.integers(side)) for side in size[::-1])
            colour = tuple(map(float, generator.integers(256, size=3)))
            cv2.circle(values, centre, int(generator.integers(4, 16)), colour, -1)
        clean = values.astype(np.uint8)
        generator = np.random.default_rng(seed if rain_seed is None else rain_seed)
        streaks = np.zeros(size, np.uint8)
        for x, y in generator.integers(0, size[::-1], (150, 2)):
            cv2.line(streaks, (int(x), int(y)), (int(x) + 2, int(y) + 9), int(generator.integers(60, 160)), 1)
        return cv2.add(clean, np.repeat(streaks[:, :, None], 3, 2)), clean

    return make


@pytest.fixture
def make_clip():
    """Write a small video with a tone beside it; needs the package av (extra [video])."""
    av = pytest.importorskip("av", reason="needs the package av, extra [video]")
    from fractions import Fraction

    import numpy as np

    def frame(number, size):
        rows, columns = np.mgrid[: size[0], : size[1]] / max(size)
        waves = [np.sin(3 * rows + 0.1 * number), np.cos(4 * columns - 0.2 * number), np.sin(5 * (rows + columns))]
        return (128 + 90 * np.stack(waves, axis=-1)).astype(np.uint8)

    def make(path, count=30, *, size=(48, 64), codec="libx264", pixels="yuv420p", sound="aac", times=None, **options):
        """``times``: milliseconds of the frames, if they shall not be 25 a second; ``pictures``: frames to show."""
        pictures = options.get("pictures") or (lambda number: frame(number, size))
        unit = Fraction(1, 1000) if times else Fraction(1, 25)
        with av.open(str(path), "w", format=options.get("format")) as container:
            preset = {"preset": options["preset"]} if "preset" in options else None
            video = container.add_stream(codec, rate=25, options=preset)
            video.width, video.height, video.pix_fmt = size[1], size[0], pixels
            video.codec_context.time_base = unit
            if options.get("rotation"):
                video.set_display_rotation(options["rotation"])
            audio = container.add_stream(sound, rate=48000, layout="mono") if sound else None
            for number in range(count):
                image = av.VideoFrame.from_ndarray(pictures(number), "rgb24").reformat(format=pixels)
                image.pts, image.time_base = (times[number] if times else number), unit
                container.mux(video.encode(image))
            container.mux(video.encode())
            tone = np.sin(np.arange(48000 * count // 25) * 0.05).astype(np.float32) * 0.3
            for start in range(0, len(tone) - 1023, 1024) if audio else ():
                block = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], "flt", "mono")
                block.sample_rate, block.pts, block.time_base = 48000, start, Fraction(1, 48000)
                container.mux(audio.encode(block))
            if audio:
                container.mux(audio.encode())
        return path

    return make

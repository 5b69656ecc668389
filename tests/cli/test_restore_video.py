"""Videos through `basicsr restore`: every frame once at its time, the sound as it is, stops at any moment."""

import subprocess
import sys
import time
import weakref
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from msgnn_plugin.archs import MSGNNArch, from_state_dict
from msgnn_plugin.cli.main import main
from msgnn_plugin.data.image_file import Picture
from msgnn_plugin.restoration import Restorer

av = pytest.importorskip("av", reason="needs the package av, extra [video]")

from msgnn_plugin.cli import restore_video  # noqa: E402
from msgnn_plugin.data.lock import sole_use  # noqa: E402
from msgnn_plugin.data.video_reading import read_form, read_frames  # noqa: E402

SMALL = {"num_feat": 4, "num_blocks": 1, "num_groups": 2, "scales": (1,), "num_neighbors": 2, "window_size": 3}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A network whose head is zero gives its input back."""
    network = MSGNNArch(num_feat=2, num_blocks=1, num_groups=1, scales=(), use_exemplar=False, graph=False)
    for parameter in network.head[-1].parameters():
        torch.nn.init.zeros_(parameter)
    path = tmp_path_factory.mktemp("weights") / "same.pth"
    torch.save({"params": network.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(MSGNNArch(**SMALL).state_dict(), path)
    return path


@pytest.fixture
def restore(tmp_path, weights):
    def run(*arguments, weights=weights):
        return main(
            ["restore", *map(str, arguments), "-o", str(tmp_path / "out"), "--weights", str(weights), "--device", "cpu"]
        )

    return run


def content(path):
    """What a player sees and hears: luma, times, rate; decoded sound and its times."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        frames = [(frame.pts * video.time_base, frame.to_ndarray(format="gray")) for frame in container.decode(video)]
        rate = video.average_rate
    sound = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0) if container.streams.audio else ():
            sound.append((frame.pts * frame.time_base, frame.to_ndarray()))
    return [moment for moment, _ in frames], np.stack([image for _, image in frames]), rate, sound


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


UNEVEN = [40 * number + 7 * (number % 3) for number in range(26)]
CLIPS = {
    "mp4": ("a.mp4", "a.mp4", {}),
    "ten bits": ("a.mp4", "a.mp4", {"pixels": "yuv420p10le"}),
    "uneven times": ("a.mkv", "a.mkv", {"times": UNEVEN}),
    "odd sides": ("a.mkv", "a.mkv", {"size": (35, 27), "codec": "ffv1"}),
    "no sound": ("a.webm", "a.mkv", {"codec": "libvpx-vp9", "sound": None}),
    "later start": ("a.ts", "a.mkv", {}),
    "old format": ("a.avi", "a.mkv", {"codec": "mpeg4", "sound": "mp3"}),
    "raw sound": ("a.mov", "a.mov", {"sound": "pcm_s16le"}),
    "shorter than a part": ("a.mp4", "a.mp4", {"count": 1, "sound": None}),
}


@pytest.mark.parametrize("kind", CLIPS)
def test_every_frame_at_its_time_and_the_sound_as_it_was(make_clip, restore, tmp_path, kind):
    source, result, options = CLIPS[kind]
    make_clip(tmp_path / source, **{"count": 26, **options})
    assert restore(tmp_path / source, "--crf", 0) == 0
    assert names(tmp_path / "out") == [result]
    old_times, old_frames, old_rate, old_sound = content(tmp_path / source)
    new_times, new_frames, new_rate, new_sound = content(tmp_path / "out" / result)
    shift = old_times[0] - new_times[0]
    assert shift == 0 or kind == "later start"
    assert [moment + shift for moment in new_times] == old_times
    assert new_rate == old_rate or kind == "uneven times"  # there it is a guess
    assert new_frames.shape == old_frames.shape
    assert np.abs(new_frames.astype(int) - old_frames).max() <= 2
    assert len(new_sound) == len(old_sound) > (9 if options.get("sound", "aac") else -1)
    for (old_time, old), (new_time, new) in zip(old_sound, new_sound):
        assert abs(new_time + shift - old_time) <= Fraction(1, 1000)  # Matroska counts milliseconds
        np.testing.assert_array_equal(new, old)


def test_subtitles_languages_and_titles_are_kept(make_clip, restore, tmp_path):
    (tmp_path / "words.srt").write_text("1\n00:00:00,200 --> 00:00:00,700\nHello rain\n\n")
    with (
        av.open(str(make_clip(tmp_path / "plain.mp4", 25))) as plain,
        av.open(str(tmp_path / "words.srt")) as words,
        av.open(str(tmp_path / "a.mkv"), "w") as container,
    ):
        copies = {stream: container.add_stream_from_template(stream, opaque=True) for stream in plain.streams}
        copies[words.streams[0]] = container.add_stream_from_template(words.streams[0], opaque=True)
        for stream, language in zip(list(copies.values())[1:], ("deu", "eng")):
            stream.metadata["language"] = language
        container.metadata.update(title="Walk", comment="mine")
        for packet in [*words.demux(), *plain.demux()]:
            if packet.size:
                packet.stream = copies[packet.stream]
                container.mux(packet)
    assert restore(tmp_path / "a.mkv") == 0
    with av.open(str(tmp_path / "out/a.mkv")) as container:
        assert [(stream.type, stream.language) for stream in container.streams][1:] == [
            ("audio", "deu"),
            ("subtitle", "eng"),
        ]
        assert container.metadata["title"] == "Walk"
        assert container.metadata["COMMENT"].startswith("mine | basicsr restore ")
    new, old = (
        [(packet.pts, packet.duration, bytes(packet)) for packet in av.open(str(path)).demux(subtitles=0)]
        for path in (tmp_path / "out/a.mkv", tmp_path / "a.mkv")
    )
    assert new == old
    assert new[0][1:] == (500, b"Hello rain")


def test_frames_go_through_the_network(make_clip, restore, random_weights, tmp_path):
    source = make_clip(tmp_path / "a.mkv", 3, size=(35, 27), codec="ffv1", pixels="bgr0")
    assert restore(source, "--crf", 0, weights=random_weights) == 0
    restorer = Restorer(from_state_dict(torch.load(random_weights, weights_only=True)), torch.device("cpu"))
    with av.open(str(source)) as container:
        rainy = [frame.to_ndarray(format="rgb24").astype(np.float32) / 255 for frame in container.decode(video=0)]
    with av.open(str(tmp_path / "out/a.mkv")) as container:
        results = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for image, result in zip(rainy, results, strict=True):
        wanted = restorer(Picture(image)) * 255
        assert np.abs(wanted - result).mean() < 1.5
        assert np.abs(wanted - image * 255).mean() > 5


def test_turned_videos_become_upright(make_clip, restore, tmp_path):
    source = make_clip(tmp_path / "a.mp4", 5, rotation=90)
    plain = make_clip(tmp_path / "plain.mp4", 5)
    assert restore(source, "--crf", 0) == 0
    frames = content(tmp_path / "out/a.mp4")[1]
    assert np.abs(frames.astype(int) - np.rot90(content(plain)[1], axes=(1, 2))).max() <= 2


def watch(monkeypatch, stop_after=None, error=KeyboardInterrupt):
    """Count the pictures that are restored, and stop the run at one of them."""
    seen = []
    call = Restorer.__call__

    def watched(self, picture, *rest):
        if len(seen) == stop_after:
            raise error
        seen.append(picture.rgb.shape)
        return call(self, picture, *rest)

    monkeypatch.setattr(Restorer, "__call__", watched)
    return seen


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_interrupted_run_is_gone_on_from_and_ends_the_same(make_clip, restore, tmp_path, capsys, monkeypatch, jobs):
    monkeypatch.setattr(restore_video, "PART_FRAMES", 6)
    source = make_clip(tmp_path / "a.mp4", 17)
    with monkeypatch.context() as patch:
        watch(patch, stop_after=15)
        assert restore(source, "--jobs", jobs) == 130
    parts = [
        ".a.mp4.parts",
        *(f".a.mp4.parts/{name}" for name in ("000000.nut", "000001.nut", "lock", "made-from.txt")),
    ]
    assert names(tmp_path / "out") == parts
    capsys.readouterr()
    with monkeypatch.context() as patch:
        seen = watch(patch)
        assert restore(source, "--jobs", jobs) == 0
    assert len(seen) == 17 - 12
    assert "a.mp4: going on after the 12 frames that are done" in capsys.readouterr().err
    assert names(tmp_path / "out") == ["a.mp4"]
    resumed = (tmp_path / "out/a.mp4").read_bytes()
    assert restore(source, "--force") == 0
    assert (tmp_path / "out/a.mp4").read_bytes() == resumed


def test_a_run_stopped_while_joining_restores_nothing_again(make_clip, restore, tmp_path, monkeypatch):
    source = make_clip(tmp_path / "a.mp4", 26)
    join = restore_video.join_parts

    def stopped(*arguments, header_only=False, **keywords):
        join(*arguments, header_only=header_only, **keywords)
        if not header_only:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(restore_video, "join_parts", stopped)
        assert restore(source) == 130
    assert not (tmp_path / "out/a.mp4").exists()
    seen = watch(monkeypatch)
    assert restore(source) == 0
    assert seen == []
    assert len(content(tmp_path / "out/a.mp4")[0]) == 26


def test_what_was_begun_with_other_settings_is_dropped(make_clip, restore, tmp_path, capsys, monkeypatch):
    source = make_clip(tmp_path / "a.mp4", 26)
    with monkeypatch.context() as patch:
        watch(patch, stop_after=25)
        assert restore(source) == 130
    seen = watch(monkeypatch)
    assert restore(source, "--crf", 30) == 0
    assert len(seen) == 26
    assert "starting anew" in capsys.readouterr().err


def test_two_runs_at_once_do_not_mix(make_clip, restore, tmp_path, capsys):
    source = make_clip(tmp_path / "a.mp4", 3)
    parts = tmp_path / "out" / ".a.mp4.parts"
    with sole_use(parts / "lock", "unused"):
        (parts / "000000.nut").write_bytes(b"the other run's")
        assert restore(source) == 1
        assert "a.mp4: another run is restoring this video into" in capsys.readouterr().err
        assert names(tmp_path / "out") == [".a.mp4.parts", ".a.mp4.parts/000000.nut", ".a.mp4.parts/lock"]
    assert restore(source) == 0
    assert names(tmp_path / "out") == ["a.mp4"]


def test_done_videos_are_skipped_until_something_changes(make_clip, restore, tmp_path, capsys, monkeypatch):
    source = make_clip(tmp_path / "a.mkv", 3)
    seen = watch(monkeypatch)
    for options, runs in (((), 1), ((), 0), (("--crf", 20), 1), (("--crf", 20), 0), (("--crf", 20, "--force"), 1)):
        seen.clear()
        assert restore(source, *options) == 0
        assert len(seen) == 3 * runs
    assert "Restored 0 of 1 videos" in capsys.readouterr().out
    make_clip(source, 4)
    seen.clear()
    assert restore(source, "--crf", 20) == 0
    assert len(seen) == 4


def test_bad_videos_fail_alone_and_leave_nothing(make_clip, restore, tmp_path, capsys):
    root = tmp_path / "in"
    root.mkdir()
    make_clip(root / "good.mp4", 3)
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(root / "picture.png")
    whole = make_clip(tmp_path / "whole.mkv", 60).read_bytes()
    (root / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    whole = make_clip(tmp_path / "whole.mp4", 60).read_bytes()
    (root / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (root / "empty.mov").touch()
    (root / "text.avi").write_text("no video")
    with av.open(str(root / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        block = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        block.sample_rate = 8000
        container.mux(stream.encode(block))
    make_clip(root / "odd_sound.mp4", 3, sound="tta", format="matroska")
    assert restore(root) == 1
    output = capsys.readouterr()
    assert "Restored 2 of 8 pictures and videos" in output.out
    errors = {line.split(": ")[2].rsplit("/", 1)[-1]: line for line in output.err.strip().splitlines()}
    assert set(errors) == {"cut.mkv", "cut.mp4", "empty.mov", "text.avi", "sound.mkv", "odd_sound.mp4"}
    assert "must hold the 2.4 seconds that it states" in errors["cut.mkv"]
    assert "must have a video stream" in errors["sound.mkv"]
    assert "must take the source's audio, got tta" in errors["odd_sound.mp4"]
    # What could be restored of a file that is cut is kept for a mended copy's run to drop; nothing else remains.
    assert [name for name in names(tmp_path / "out") if "/" not in name] == [
        ".cut.mkv.parts",
        "good.mp4",
        "picture.png",
    ]


def test_frames_are_not_held(make_clip, restore, tmp_path, monkeypatch):
    source = make_clip(tmp_path / "a.mp4", 30)
    alive, most = [], []

    def watched(*arguments, **keywords):
        for frame in read_frames(*arguments, **keywords):
            alive.append(1)
            weakref.finalize(frame.rgb, alive.pop)
            most.append(len(alive))
            yield frame

    monkeypatch.setattr(restore_video, "read_frames", watched)
    for jobs in (1, 3):
        most.clear()
        assert restore(source, "--jobs", jobs, "--force") == 0
        assert len(most) == 31  # the first one also for its exemplar
        assert max(most) <= jobs + 3


def test_one_exemplar_for_a_whole_video(make_clip, tmp_path, random_weights, monkeypatch):
    network = from_state_dict(torch.load(random_weights, weights_only=True))
    network.set_exemplar_bank(torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8))
    restorer = Restorer(network, torch.device("cpu"))
    form = read_form(make_clip(tmp_path / "a.mp4", 2))
    first, second = (frame.rgb for frame in read_frames(tmp_path / "a.mp4", form))
    wanted = restorer.bank.nearest(torch.from_numpy(first).permute(2, 0, 1)[None])
    fixed = restorer.for_video(first)
    assert torch.equal(fixed._exemplar_of(torch.from_numpy(second).permute(2, 0, 1)[None], None), wanted)


def test_comparisons_are_for_pictures(make_clip, restore, tmp_path, capsys):
    assert restore(make_clip(tmp_path / "a.mp4", 1), "--compare") == 2
    assert "must be left out for videos" in capsys.readouterr().err


def test_without_the_package_the_pictures_are_done(make_clip, restore, tmp_path, capsys, monkeypatch):
    make_clip(tmp_path / "a.mp4", 1)
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "b.png")
    for name in (
        "msgnn_plugin.cli.restore_video",
        "msgnn_plugin.data.video_reading",
        "msgnn_plugin.data.video_writing",
    ):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("msgnn_plugin.cli.restore_video")
    monkeypatch.setitem(sys.modules, "av", None)
    assert restore(tmp_path / "a.mp4", tmp_path / "b.png") == 1
    assert "a.mp4: videos need the package av: `pip install 'msgnn_plugin[video]'`" in capsys.readouterr().err
    assert names(tmp_path / "out") == ["b.png"]


MEASURED = (
    "import resource, sys; from msgnn_plugin.cli.main import main; code = main(sys.argv[1:]); "
    "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
)


@pytest.mark.slow
def test_ten_seconds_of_720p_killed_and_resumed_in_bounded_memory(make_clip, make_pair, weights, tmp_path, repository):
    """Rain put on a pan over one picture."""
    size, scene = (720, 1280), make_pair(0, size=(720, 1540))[1]

    def rainy(number):
        generator = np.random.default_rng(number)
        image = scene[:, number : number + size[1]].copy()
        for x, y in generator.integers(0, size[::-1], (400, 2)).tolist():
            cv2.line(image, (x, y), (x + 4, y + 18), (210, 210, 210), 1)
        return image

    def start(source, out):
        arguments = ["restore", source, "-o", tmp_path / out, "--weights", weights, "--device", "cpu", "--crf", 40]
        command = [sys.executable, "-c", MEASURED, *map(str, arguments)]
        return subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def peak(process):
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        return int(output.split("peak ")[1]) / 1024, errors

    options = {"size": size, "pictures": rainy, "preset": "ultrafast"}
    second, ten = (make_clip(tmp_path / f"{count}.mp4", count, **options) for count in (30, 250))
    alone, _ = peak(start(second, "out"))
    process = start(ten, "out")
    parts = tmp_path / "out/.250.mp4.parts"
    while len(list(parts.glob("0*.nut"))) < 3:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert not (tmp_path / "out/250.mp4").exists()
    resumed, errors = peak(start(ten, "out"))
    assert f"going on after the {24 * 3} frames" in errors or f"going on after the {24 * 4} frames" in errors
    assert resumed < alone + 150  # as bytes alone, all of the frames would be 659 MiB
    assert names(tmp_path / "out") == ["250.mp4", "30.mp4"]
    old, new = content_lazily(ten), content_lazily(tmp_path / "out/250.mp4")
    assert len(new[0]) == 250
    assert new == old


def content_lazily(path):
    """Times of the frames, rate, packets of the sound."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        times = [frame.pts * video.time_base for frame in container.decode(video)]
        rate = video.average_rate
    with av.open(str(path)) as container:
        sound = [(packet.pts * packet.time_base, bytes(packet)) for packet in container.demux(audio=0) if packet.size]
    return times, rate, sound

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("daft", reason="needs daft, of the extra [distill]")
pytest.importorskip("faiss", reason="needs faiss, of the extra [distill]")
pytest.importorskip("skimage", reason="needs scikit-image, of the extra [distill]")
pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra [distill]")
from pyarrow import parquet

from benchmarks.planted import FAULTS, write_pool
from msgnn_plugin.cli.main import main
from msgnn_plugin.curation.listing import list_pools
from msgnn_plugin.curation.manifest import read_records, write_records
from msgnn_plugin.data import PairedExemplarDataset, find_pairs
from tests.curation.conftest import PRESETS


def start(*arguments, **options):
    """Start the command in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "msgnn_plugin.cli", "distill", *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
        **options,
    )


@pytest.fixture(scope="module")
def finished(small_pool, tmp_path_factory):
    """Return pool, references, folder of a finished run."""
    pool, real = small_pool
    out = tmp_path_factory.mktemp("run") / "out"
    arguments = [str(pool), "--reference", str(real), "-o", str(out), "--jobs", "1", "--unit", "5"]
    assert main(["distill", *arguments]) == 0
    return pool, real, out


def rows_of(out):
    return parquet.read_table(out / "manifest.parquet").to_pylist()


def test_every_pair_is_kept_or_dropped_with_the_reason(finished):
    _, real, out = finished
    rows = rows_of(out)
    assert [row["number"] for row in rows] == list(range(12))
    assert [row["kept"] for row in rows] == [True] * 10 + [False] * 2
    assert rows[10]["reason"] == "duplicate: of pool_0"
    assert rows[11]["reason"].startswith("no rain")
    assert all(not row["reason"] for row in rows[:10])
    for row in rows:
        assert {Path(path).parent for path in row["references"]} == {real}
        assert len(row["references"]) == len(set(row["references"])) == 3
        assert row["caption"].startswith("a ")
        assert len(row["feature"]) == 44
        assert len(row["verdicts"]) == 3
    summary = json.loads((out / "summary.json").read_bytes())
    assert (summary["pairs"], summary["kept"], summary["reasons"]) == (12, 10, {"duplicate": 1, "no rain": 1})


def test_training_reads_the_manifest(finished):
    pool, _, out = finished
    manifest = out / "manifest.parquet"
    samples = PairedExemplarDataset(root=manifest, crop_size=64)
    assert len(samples) == 10
    assert samples[3]["lq_path"] == str(pool / "rainy" / "3.png")
    assert samples[3]["gt_path"] == str(pool / "clean" / "3.png")
    assert len(find_pairs(manifest, exclude=["pool_3"])) == 9
    assert list_pools([manifest], out.parent / "again", unit=4, left="clean").count == 10


def test_a_run_after_a_finished_one_changes_nothing(finished, monkeypatch, capsys):
    pool, real, out = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != "lock"}
    monkeypatch.setattr("msgnn_plugin.curation.pipeline.run_units", lambda *_, **__: pytest.fail("nothing is left"))
    assert main(["distill", str(pool), "--reference", str(real), "-o", str(out)]) == 0
    assert "keeps 10 of 12 pairs" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_another_run_into_the_same_folder_is_refused(finished, tmp_path, capsys):
    pool, real, out = finished
    settings = tmp_path / "settings.yml"
    settings.write_text("image_nearest: 2\n")
    assert main(["distill", str(pool), "--reference", str(real), "-o", str(out), "--settings", str(settings)]) == 2
    assert "with the same image_nearest, got 3" in capsys.readouterr().err
    assert main(["distill", str(pool), "--reference", str(pool), "-o", str(out)]) == 2
    assert "with the same reference" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none", "-o", "out", "--reference", "{real}"], "must be a folder of image pairs, got none"),
        (["{pool}", "-o", "out"], "`--reference` must name a folder of real rain, got none"),
        (["{pool}", "-o", "out", "--reference", "{empty}"], "must hold at least one picture"),
        (["{pool}", "-o", "out", "--reference", "{real}", "--unit", "0"], "`--unit` must be at least 1, got 0"),
        (["{pool}", "-o", "out", "--reference", "{real}", "--jobs", "0"], "`--jobs` must be at least 1, got 0"),
    ],
)
def test_wrong_usage(small_pool, tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    places = {"pool": small_pool[0], "real": small_pool[1], "empty": tmp_path / "empty"}
    assert main(["distill", *(argument.format(**places) for argument in arguments)]) == 2
    assert told in capsys.readouterr().err


def test_pools_are_listed_by_their_types_and_names_are_unique(tmp_path, write_pictures, small_pool):
    image = np.zeros((32, 32, 3), np.uint8)
    for kind in ("drs", "nrd"):
        for side in ("input", "target"):
            write_pictures(tmp_path / "a" / "pool" / kind / side, [image] * 2)
    (tmp_path / "a" / "pool" / "drs" / "input" / "7.png").write_bytes(b"")
    listing = list_pools([tmp_path / "a" / "pool", small_pool[0]], tmp_path / "units", unit=3, left="clean")
    rows = [row for unit in listing.units for row in parquet.read_table(unit).to_pylist()]
    assert [len(parquet.read_table(unit)) for unit in listing.units] == [3, 3, 3, 3, 3, 1]
    assert [(row["pool"], row["night"]) for row in rows[:4]] == [("pool_drs", False)] * 2 + [("pool_nrd", True)] * 2
    assert listing.alone == [str(tmp_path / "a" / "pool" / "drs" / "input" / "7.png")]
    assert len({row["name"] for row in rows}) == listing.count == 16


@pytest.mark.parametrize("form", ["png", "raw"])
def test_repeats_inside_an_lmdb_are_found(tmp_path, small_pool, form):
    from msgnn_plugin.curation.duplicates import drop_duplicates, hash_background, hash_rain
    from msgnn_plugin.curation.listing import list_pools
    from msgnn_plugin.data.lmdb_writer import build_lmdb
    from msgnn_plugin.data.reading import PictureReader

    build_lmdb(find_pairs(small_pool[0]), tmp_path / "store", form=form)
    (unit,) = list_pools([tmp_path / "store"], tmp_path / "units", unit=64, left="clean").units
    rows, reader = parquet.read_table(unit).to_pylist(), PictureReader()
    for row, pair in zip(rows, find_pairs(tmp_path / "store")):
        rainy, clean = reader.read_pair(pair)
        row |= {"background_hash": hash_background(clean), "rain_hash": hash_rain(rainy, clean), "kept": True}
    ((*first, repeat, dry),) = drop_duplicates(iter([rows]), tmp_path / "table")
    assert all(row["kept"] for row in (*first, dry))
    assert repeat["reason"] == "duplicate: of store_0"


def test_pairs_without_verdict_are_judged_again(tmp_path):
    from msgnn_plugin.curation.pipeline import _is_decided

    empty = {"pool": "p", "name": "n", "kept": False, "reason": "", "references": [], "verdicts": []}
    rows = [empty | {"number": 0, "decided": True}, empty | {"number": 1, "decided": False}]
    write_records(tmp_path / "0.parquet", rows)
    assert not _is_decided(tmp_path / "0.parquet")
    journal = [json.loads(line) for line in (tmp_path / "0.jsonl").read_text().splitlines()]
    assert [record["number"] for record in journal] == [0]
    write_records(tmp_path / "1.parquet", rows[:1])
    assert _is_decided(tmp_path / "1.parquet")
    assert read_records(tmp_path / "1.parquet")[0]["number"] == 0


@pytest.mark.slow
def test_planted_faults_are_rejected(tmp_path, made_pairs, write_pictures, shared_rain):
    pairs = made_pairs(48, presets=(*PRESETS, "drd", "nrd")) + shared_rain
    write_pool(tmp_path / "pool", pairs, seed=4)
    real = write_pictures(tmp_path / "real", [rainy for _, (rainy, _) in made_pairs(20, seed=7)])
    assert start(tmp_path / "pool", "--reference", real, "-o", tmp_path / "out", "--jobs", "2").wait() == 0
    dropped = Counter((row["name"].split("_")[1], row["kept"]) for row in rows_of(tmp_path / "out"))
    rejected = sum(dropped[fault, False] for fault in FAULTS)
    planted = rejected + sum(dropped[fault, True] for fault in FAULTS)
    assert planted == len(pairs) // 2
    assert rejected / planted >= 0.9
    assert rejected / (rejected + dropped["good", False]) >= 0.9


@pytest.fixture
def shared_rain():
    """Return 64 pairs of Rain800 where ../shared holds it, else none."""
    from tests.conftest import SHARED

    folder = SHARED / "data" / "rain800" / "train"
    if not folder.is_dir():
        return []
    from msgnn_plugin.data.reading import PictureReader

    reader = PictureReader()
    return [("rain800", reader.read_pair(pair)) for pair in find_pairs(folder)[1:640:10]]


@pytest.fixture
def asked_by_picture():
    """Serve a judge who says yes after a while; yields its address and how often it was asked about each picture."""
    from tests.curation.test_chat import Model

    asked = Counter()

    def answer(body):
        asked[hashlib.sha256(body["messages"][0]["content"][1]["image_url"]["url"].encode()).hexdigest()] += 1
        return 0.05

    model = Model(answer)
    yield model.url, asked
    model.close()


@pytest.mark.slow
def test_kills_cost_nothing_that_was_written(tmp_path, small_pool, asked_by_picture):
    pool, real = tmp_path / "pool", small_pool[1]
    shutil.copytree(small_pool[0], pool)
    url, asked = asked_by_picture
    settings = tmp_path / "settings.yml"
    judge = f"{{kind: chat, name: slow, url: '{url}', model: m, concurrency: 1}}"
    settings.write_text(f"judges: [{judge}]\nfeature_nearest: 1\nimage_nearest: 1\n")
    common = (pool, "--reference", real, "--settings", settings, "--jobs", "2", "--unit", "3")
    assert start(*common, "-o", tmp_path / "whole").wait() == 0
    assert sum(asked.values()) == 12  # One of them is there twice.
    asked.clear()

    out = tmp_path / "killed"
    rng = np.random.default_rng(0)
    # Kills fall into every stage: two into listing and references, the others into judging, however fast the machine.
    answers_before_kill = (0, 0, 1, 2, 1)
    for kills, wanted in enumerate(answers_before_kill):
        before = sum(asked.values())
        process = start(*common, "-o", out, stderr=subprocess.DEVNULL)
        while sum(asked.values()) < before + wanted and process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.1 if wanted else 2))
        assert process.poll() is None
        # Every second time the workers outlive the command.
        (os.killpg if kills % 2 else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
    assert start(*common, "-o", out).wait() == 0
    assert (out / "manifest.parquet").read_bytes() == (tmp_path / "whole" / "manifest.parquet").read_bytes()
    # Asked about again can only be what was in hand, four pairs a worker, when a kill came.
    assert sum(asked.values()) - 12 <= 2 * 4 * len(answers_before_kill)


@pytest.mark.slow
def test_judges_that_were_down_are_asked_again(tmp_path, small_pool):
    from tests.curation.test_chat import Model

    down = [True]
    model = Model(lambda body: 503 if down[0] else "YES")
    judge = f"{{kind: chat, name: m, url: '{model.url}', model: m, retries: 0}}"
    (tmp_path / "settings.yml").write_text(f"judges: [{judge}]\ntext_nearest: 0\n")
    arguments = (small_pool[0], "-o", tmp_path / "out", "--settings", tmp_path / "settings.yml", "--jobs", "1")
    process = start(*arguments, stderr=subprocess.PIPE, text=True)
    assert "no verdict on 12 pairs" in process.communicate()[1]
    assert process.returncode == 1
    assert not any(row["kept"] for row in rows_of(tmp_path / "out"))
    down[0] = False
    assert start(*arguments).wait() == 0
    assert len(model.calls) == 24
    assert sum(row["kept"] for row in rows_of(tmp_path / "out")) == 11
    model.close()


@pytest.mark.slow
def test_a_ray_cluster_of_two_workers_writes_the_same_manifest(finished, tmp_path):
    pytest.importorskip("ray", reason="needs ray, of the extra [distill-ray]")
    pool, real, out = finished
    arguments = (pool, "--reference", real, "-o", tmp_path / "out", "--runner", "ray", "--jobs", "2", "--unit", "2")
    assert start(*arguments, stderr=subprocess.DEVNULL).wait() == 0
    assert (tmp_path / "out" / "manifest.parquet").read_bytes() == (out / "manifest.parquet").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from Linux's process table")
def test_memory_does_not_grow_with_the_pool(tmp_path, small_pool, write_pictures):
    peaks = []
    rng = np.random.default_rng(0)
    settings = tmp_path / "settings.yml"
    settings.write_text("text_nearest: 0\n")
    for count in (40, 800):
        rainy = rng.integers(0, 255, (count, 48, 48, 3), dtype=np.uint8)
        write_pictures(tmp_path / str(count) / "rainy", rainy)
        write_pictures(tmp_path / str(count) / "clean", rainy // 2)
        code = (
            "import resource, sys; from msgnn_plugin.cli.main import main; assert main(sys.argv[1:]) == 0; "
            "print(max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))"
        )
        arguments = ["distill", tmp_path / str(count), "-o", tmp_path / f"out{count}", "--settings", settings]
        printed = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments), "--jobs", "1", "--unit", "20"],
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
        ).stdout
        peaks.append(int(printed.split()[-1]) / 1024)
    # 760 pairs more, of 14 kB each decoded; rows of the manifest take a few kB.
    assert peaks[1] - peaks[0] < 25, peaks

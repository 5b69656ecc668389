"""`basicsr report RUN...`: what a real training and its test leave, and folders of the careless and the malicious."""

import base64
import csv
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from msgnn_plugin.adapters.basicsr.reporting.logs import parse_losses, parse_options, parse_type_weights, read_logs
from msgnn_plugin.adapters.basicsr.reporting.runs import ranked, read_run
from msgnn_plugin.archs import MSGNNArch
from msgnn_plugin.cli.main import main
from msgnn_plugin.cli.report_curves import draw_panels
from tests.adapters.tiny_run import NETWORK, make_project, measuring_options, run, tiny_options, write_options

EVIL = "<img src=x onerror=alert(1)>|$\\frac{$"


class Page(HTMLParser):
    """The tags of a page, and its text without scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags, self.text, self.script, self.inside = [], "", "", ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "script":
            self.script += data
        elif self.inside != "style":
            self.text += data

    def sources(self, alt):
        return [attrs["src"] for tag, attrs in self.tags if tag == "img" and attrs.get("alt") == alt]


def assert_fetches_nothing(page: Page) -> None:
    for tag, attrs in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert "href" not in attrs
        assert not [name for name in attrs if name.startswith("on")]
        assert attrs.get("src", "data:image/").startswith("data:image/")
    assert [tag for tag, _ in page.tags].count("script") == 1
    (policy,) = [attrs["content"] for tag, attrs in page.tags if tag == "meta" and "http-equiv" in attrs]
    digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
    assert policy.split("; ") == [
        *("default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"),
        f"script-src 'sha256-{digest}'",
    ]


def decode(uri):
    header, _, content = uri.partition(",")
    content = base64.b64decode(content)
    return content if "svg" in header else cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


def report(*arguments):
    return main(["report", *map(str, arguments)])


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A training that kept its pictures and names the paper's numbers, and a test of its weights."""
    folder = tmp_path_factory.mktemp("project")
    options = tiny_options()
    options["val"] |= {"save_img": True, "input_metrics": True}
    options["ablation"] = {"paper": {"psnr": 29.5, "ssim": 0.9167, "params": 1234}}
    run("train", make_project(folder, options))
    testing = measuring_options()
    testing["val"]["save_img"] = True
    testing["ablation"] = {"paper": {"ssim": 0.75}}
    run("test", write_options(folder / "options" / "measured.yml", testing))
    return folder


def test_page_of_a_training_and_its_test(project, tmp_path, capsys):
    training, test = project / "experiments/tiny", project / "results/measured"
    out = tmp_path / "new" / "page.html"
    assert report(training, test, "--html", out) == 0
    assert capsys.readouterr().err == f"{out}: 2 of 2 runs.\n"
    assert out.stat().st_size < 500_000
    page = Page(out)
    assert_fetches_nothing(page)
    with (training / "metrics/first/8.csv").open() as file:
        rows = {row["image"]: {key: float(row[key]) for key in row if key != "image"} for row in csv.DictReader(file)}
    mean = rows["mean"]
    gain = mean["psnr"] - mean["input_psnr"]
    text = re.sub(r"\s+", " ", page.text)
    assert "experiments/tiny finished" in text
    assert "first: 2 pictures, iteration 8" in text
    cells = re.findall(r"<tr>(.*?)</tr>", out.read_text())
    cells = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in cells]
    assert ["metric", "rainy", "derained", "gain", "paper"] in cells
    assert ["psnr", f"{mean['input_psnr']:.2f}", f"{mean['psnr']:.2f}", f"{gain:+.2f}", "29.50"] in cells
    parameters = sum(p.numel() for p in MSGNNArch(**{k: v for k, v in NETWORK.items() if k != "type"}).parameters())
    assert ["parameters", f"{parameters:,}", "1,234"] in [[cell for cell in row if cell] for row in cells]
    assert ["run", "set", "pictures", "psnr", "ssim"] in cells
    assert any(row[0] == "results/measured" and row[1] == "first" for row in cells)
    assert any(row[0] == "ssim" and row[-1] == "0.7500" for row in cells)
    # The log says what it ran on.
    assert any(row[:1] == ["hardware"] and "cores" in row[1] and "not in the log" not in row[1] for row in cells)
    assert "num_neighbors: 2" in text
    # One best and one worst of two images, in both runs, each beside its input.
    assert len(page.sources("derained")) == len(page.sources("rainy")) == 4
    best, worst = sorted(("1", "2"), key=lambda name: -rows[name]["psnr"])
    assert text.index(f"Best by psnr {best}: psnr") < text.index(f"Worst by psnr {worst}: psnr")
    for uri, kind, name in (
        (page.sources("rainy")[0], "data/test/rain", best),
        (page.sources("rainy")[1], "data/test/rain", worst),
    ):
        expected = cv2.imread(str(project / kind / f"{name}.png")).astype(int)
        assert decode(uri).shape == expected.shape
        assert np.abs(decode(uri) - expected).mean() < 10
    kept = cv2.imread(str(training / f"visualization/{best}/{best}_8.png")).astype(int)
    assert np.abs(decode(page.sources("derained")[0]) - kept).mean() < 10
    # Curves: both validations of both metrics, and the loss.
    metrics, losses = (decode(page.sources(title)[0]).decode() for title in ("Metrics", "Losses"))
    assert "first: psnr" in metrics
    assert "first: ssim" in metrics
    assert "l_pix" in losses


def test_what_a_run_leaves_is_read_as_it_is(project):
    trained, tested = (read_run(project / place) for place in ("experiments/tiny", "results/measured"))
    assert trained.state == "finished"
    assert tested.state == "test"
    assert [iteration for iteration, _ in trained.sets[0].curve] == [4, 8]
    assert [iteration for iteration, _ in trained.losses["l_pix"]] == list(range(1, 9))
    # A test keeps no copy of its options: they are read off its log.
    wanted = yaml.safe_load((project / "options/measured.yml").read_text())
    assert tested.options["val"]["metrics"] == wanted["val"]["metrics"]
    assert tested.options["network_g"] == {"type": "MSGNNArch"}
    assert Path(tested.options["datasets"]["test"]["dataroot"]) == project / "data/test"
    # And what the log of a training says is what its copy says.
    printed = parse_options(read_logs(trained.folder))
    assert printed["train"] == trained.options["train"]
    assert printed["network_g"] == trained.options["network_g"]


def test_markdown_has_the_tables(project, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert report(project / "experiments/tiny", "--markdown") == 0
    shown = capsys.readouterr().out
    assert "\n| metric | rainy | derained | gain | paper |\n| --- | --- | --- | --- | --- |\n| psnr | " in shown
    assert "\nBest by psnr:\n- " in shown
    assert not list(tmp_path.iterdir())
    assert report(project / "experiments/tiny") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def leave_run(folder, images=("1", "2", "3"), logs="", sets=("first",), options=None):
    """Leave what a test run leaves, without a network: tables by image, the psnr falling from 30."""
    for name in sets:
        path = folder / "metrics" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [(image, 30.0 - number) for number, image in enumerate(images)]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("image", "psnr"), *rows, ("mean", np.mean([value for _, value in rows]))])
    (folder / "test_x_20260101_000000.log").write_text(logs)
    if options is not None:
        write_options(folder / "x.yml", options)
    return folder


def test_names_are_text_wherever_they_stand(tmp_path, capsys):
    folder = tmp_path / "results" / EVIL
    options = {"name": EVIL, "note": "</pre><script>alert(1)</script>", "datasets": {"test": {"name": EVIL}}}
    leave_run(folder, ("</td><script>alert(1)</script>", "../../up", EVIL), sets=(EVIL,), options=options)
    picture = folder / "visualization" / EVIL / f"{EVIL}_{EVIL}.png"
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (900, 600)).save(picture)
    # A training of such a name too, for the labels of curves.
    training = tmp_path / "experiments" / f"_{EVIL}雨"
    for iteration in (4, 8):
        path = training / "metrics" / EVIL / f"{iteration}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'image,"{EVIL}"\n1,20\nmean,20\n')
    out = tmp_path / "page.html"
    assert report(folder, training, training, "--html", out, "--markdown") == 0
    page = Page(out)
    assert_fetches_nothing(page)
    assert page.text.count("<script>alert(1)</script>") >= 2
    assert EVIL in page.text
    assert EVIL in decode(page.sources("Metrics")[0]).decode().replace("&lt;", "<").replace("&gt;", ">")
    (shown,) = page.sources("derained")
    assert decode(shown).shape == (427, 640, 3)
    assert not page.sources("rainy")
    assert "2 of 3 pictures were not kept by the run" in page.text
    assert "Rainy inputs are not shown" in page.text
    shown = capsys.readouterr().out
    assert "<" not in shown
    assert "\\|$" in shown


@pytest.mark.parametrize(
    ("metric", "best", "worst"),
    [
        ({"type": "calculate_psnr"}, ["a", "b"], ["e", "d"]),
        ({"type": "calculate_niqe"}, ["e", "d"], ["a", "b"]),
        ({"type": "mine", "better": "lower"}, ["e", "d"], ["a", "b"]),
        ({"type": "calculate_niqe", "better": "lower"}, ["e", "d"], ["a", "b"]),
    ],
)
def test_best_and_worst_are_so_by_the_metric(tmp_path, metric, best, worst):
    result = read_run(leave_run(tmp_path / "run", "abcde", options={"val": {"metrics": {"psnr": metric}}}))
    found = ranked(result, result.sets[0], 2)
    assert [[name for _, name in names] for names in found] == [best, worst]
    assert all(result.sets[0].images[place][0] == name for names in found for place, name in names)
    # None stands in both, whatever the number asked for.
    for count in range(6):
        names = [name for names in ranked(result, result.sets[0], count) for _, name in names]
        assert len(set(names)) == len(names) == min(2 * count, 5)
    result.sets[0].images[0] = "a", {"psnr": float("nan")}
    assert "a" not in [name for names in ranked(result, result.sets[0], 3) for _, name in names]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("image,psnr\n1,20\n", "must end with the row `mean`"),
        ("", "must end with the row `mean`"),
        ("image,psnr\nmean,20\n", "must end with the row `mean`"),
        ("image,psnr\n1,twenty\nmean,20\n", "numbers in every other, got line 2 without"),
        ("image,psnr\n1\nmean,20\n", "numbers in every other, got line 2 without"),
        ("image,psnr\n1,2,3\nmean,20\n", "numbers in every other, got line 2 without"),
        ("psnr\n20\n", "must have the column `image`"),
        ("\0\x01\xff", "`"),
    ],
)
def test_a_broken_table_is_told_and_the_others_are_shown(tmp_path, capsys, content, sentence):
    run_folder = leave_run(tmp_path / "run", sets=("first", "second"))
    (run_folder / "metrics/first.csv").write_text(content, encoding="latin-1")
    assert report(run_folder, "--html", tmp_path / "r.html") == 1
    error, done = capsys.readouterr().err.splitlines()
    assert error.startswith(f"basicsr report: error: {run_folder / 'metrics/first.csv'}: a table of metrics must")
    assert sentence in error
    assert done.endswith("r.html: 1 of 1 runs.")
    page = Page(tmp_path / "r.html")
    assert "second: 3 pictures" in page.text
    assert sentence in page.text


def test_runs_without_metrics_pictures_or_anything(tmp_path, capsys):
    begun, nothing = tmp_path / "begun", tmp_path / "nothing"
    nothing.mkdir()
    write_options(begun / "begun.yml", tiny_options())
    line = "2026 INFO: [tiny..][epoch:  0, iter:   1,{}00, lr:(5.000e-04,)] [eta: 0:04, time (data): 0.6 (0.0)] {}\n"
    (begun / "train_begun_20260101_000000.log").write_text(
        line.format(1, "l_pix: -1.0e-01 ") + line.format(2, "l_pix: nan ")
    )
    assert report(begun, nothing, tmp_path / "gone", "--html", tmp_path / "r.html") == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    for name, error in zip(("nothing", "gone"), errors):
        assert "RUN must be a folder that `basicsr train` or `basicsr test` wrote" in error
        assert f"{name}' without log, options and metrics" in error
    page = Page(tmp_path / "r.html")
    assert "No metrics yet" in page.text
    assert "stopped or running at iteration 1,200 of 8" in page.text
    assert "not in the log; this report was made on" in page.text
    assert len(page.sources("Losses")) == 1
    assert report(nothing, "--html", tmp_path / "none.html") == 2
    assert not (tmp_path / "none.html").exists()


def test_a_broken_picture_and_broken_options_are_told(tmp_path, capsys):
    run_folder = leave_run(tmp_path / "run", ("a", "b"))
    (run_folder / "x.yml").write_text("{")
    for name in "ab":
        path = run_folder / f"visualization/first/{name}_run.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((30, 20), 50).save(path)
    path.write_bytes(path.read_bytes()[:-300])
    assert report(run_folder, "--html", tmp_path / "r.html") == 1
    errors = capsys.readouterr().err
    assert "b_run.png: the picture must be complete" in errors
    assert "x.yml: the copy of the options must be plain YAML" in errors
    assert len(Page(tmp_path / "r.html").sources("derained")) == 1


def test_types_of_rain_stand_below_their_set(tmp_path, capsys):
    run_folder = leave_run(tmp_path / "run", ("drs_a", "nrd_a"))
    table = "type,images,psnr\ndrs,1,30.0\nnrd,1,29.0\nmean,2,29.5\n"
    (run_folder / "metrics/first_by_type.csv").write_text(table)
    assert report(run_folder, "--markdown") == 0
    shown = capsys.readouterr().out
    assert shown.count("### ") == 1
    assert "\n| type of rain | psnr |\n| --- | --- |\n| drs | 30.00 |\n| nrd | 29.00 |\n" in shown
    (run_folder / "metrics/first_by_type.csv").write_text("type,images\ndrs,1\n")
    assert report(run_folder, "--markdown") == 1
    assert "first_by_type.csv: a table of metrics must end with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({}, "No rainy input of the same name and size was found for 1."),
        ({"dataroot": "/gone"}, "Rainy inputs are not shown: "),
        ({"type": "Nothing"}, "Rainy inputs are not shown: there is no data set of the type 'Nothing'."),
        ({"name": "other"}, "Rainy inputs are not shown: the run's options name no set first."),
    ],
)
def test_inputs_that_are_not_at_hand_are_told(project, tmp_path, change, note):
    data = {"name": "first", "type": "PairedExemplarDataset", "dataroot": str(project / "data/test")} | change
    run_folder = leave_run(tmp_path / "run", ("1", "2"), options={"datasets": {"test": data}})
    path = run_folder / "visualization/first/1_run.png"
    path.parent.mkdir(parents=True)
    Image.new("RGB", (30, 20)).save(path)
    assert report(run_folder, "--html", tmp_path / "r.html") == 0
    page = Page(tmp_path / "r.html")
    assert note in page.text
    assert len(page.sources("derained")) == 1
    assert not page.sources("rainy")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "either RUN or `--ablation` must be given, got none"),
        (["a", "--ablation", "b"], "either RUN or `--ablation` must be given, got both"),
        (["a", "--csv"], "`--csv` must be left out with RUN"),
        (["a", "--json"], "`--json` must be left out with RUN"),
        (["a", "--out", "b"], "`--out` must be left out with RUN"),
        (["--html", "a", "--ablation", "b"], "`--html` must be left out with `--ablation`"),
        (["--pictures", "3", "--ablation", "b"], "`--pictures` must be left out with `--ablation`"),
        (["a", "--pictures", "-1"], "`--pictures` must be at least 0, got -1"),
    ],
)
def test_wrong_use_is_told(capsys, arguments, sentence):
    assert report(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line


def test_of_several_runs_every_curve_says_whose_it_is():
    points = [(1, 2.0), (2, 1.0)]
    drawn = draw_panels({"both": {"one": points, "_two": points}, "alone": {"_two": points}}).decode()
    assert [drawn.count(f">{name}<") for name in ("one", " _two")] == [1, 2]
    # A line beside the other's, and one beside each name: a run keeps its colour in every panel.
    assert [drawn.count(f"fill: none; stroke: {colour}; ") for colour in ("#1f77b4", "#ff7f0e")] == [2, 4]
    assert ">one<" not in draw_panels({"alone": {"one": points}}).decode()


def test_what_a_resumed_run_did_again_counts_once(tmp_path):
    line = (
        "INFO: [t..][epoch:  0, iter: {:>7}, lr:(5e-04,)] [eta: 0:04, time (data): 0.6 (0.0)] l_a: {} l_b: 1.0e+00 \n"
    )
    (tmp_path / "train_t_20260102_000000.log").write_text(line.format(2, 5.0) + line.format("1,003", 6.0))
    (tmp_path / "train_t_20260101_000000.log").write_text(line.format(1, 1.0) + line.format(2, 2.0))
    text = read_logs(tmp_path)
    assert parse_losses(text)["l_a"] == [(1, 1.0), (2, 5.0), (1003, 6.0)]
    text = "INFO: Validation L1 and weight by type at iteration 60: drs 0.06297 -> 0.2500, nrd 0.04077 -> 0.7500\n"
    assert parse_type_weights(text) == {"drs": [(60, 0.06297, 0.25)], "nrd": [(60, 0.04077, 0.75)]}


def test_commands_of_the_page(page_commands, project, tmp_path, monkeypatch, make_pair, capsys):
    monkeypatch.chdir(tmp_path)
    commands = page_commands("report.md")
    assert len(commands) >= 4
    words = " ".join(word for arguments in commands for word in arguments)
    for place in re.findall(r"(?:experiments|results)/\w+", words):
        if not Path(place).exists():
            Path(place).parent.mkdir(exist_ok=True)
            kind = "experiments/tiny" if place.startswith("experiments") else "results/measured"
            Path(place).symlink_to(project / kind)
    Image.fromarray(make_pair(1, (330, 470))[0]).save("rainy.png")
    Image.fromarray(make_pair(2)[0]).save("other.png")
    for arguments in commands:
        assert main(arguments[: arguments.index(">")] if ">" in arguments else arguments) == 0, capsys.readouterr().err
    written = set(re.findall(r"[\w-]+\.(?:html|png)", words)) - {"rainy.png", "other.png"}
    assert all(Path(name).stat().st_size for name in written | {"report.html"})

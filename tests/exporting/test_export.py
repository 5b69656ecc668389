"""`basicsr export`: files that give what the network gives, on their own, and bad input."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from msgnn_plugin.archs import MSGNNArch, NLCLGenerator, UniRainArch
from msgnn_plugin.cli.main import main
from msgnn_plugin.exporting import agreement, export_network, files
from msgnn_plugin.exporting.agreement import Agreement, compare
from msgnn_plugin.exporting.program import least_side

NETWORKS = {
    "nlcl": lambda: NLCLGenerator(num_feat=8, num_blocks=1),
    "nlcl reversible": lambda: NLCLGenerator(num_feat=16, num_blocks=1, reversible_norm=True),
    "unirain": lambda: UniRainArch(num_feat=8, num_blocks=(1, 0, 0, 0), num_refinement=0, num_heads=(1, 1, 1, 1)),
    "paper": lambda: msgnn(),
    "paper, all places": lambda: msgnn(window_size=None, scales=(2,)),
    "paper, overlapping": lambda: msgnn(stride=2, scales=(1,)),
    "official": lambda: msgnn(variant="official"),
}


def msgnn(**settings):
    defaults = {"num_feat": 16, "num_blocks": 1, "num_groups": 2, "scales": (1, 2), "window_size": 8}
    return MSGNNArch(**{**defaults, **settings})


def build(name):
    torch.manual_seed(0)
    return NETWORKS[name]().eval()


@pytest.fixture
def needs_onnx():
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package, reason=f"needs {package}, of the extra [export]")


def run_onnx(path, **inputs):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {name: value.numpy() for name, value in inputs.items()})[0])


@pytest.mark.usefixtures("needs_onnx")
@pytest.mark.parametrize(
    ("name", "exemplar"),
    [
        ("nlcl", False),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("nlcl reversible", False),
                ("unirain", False),
                ("paper", True),
                ("paper", False),
                ("paper, all places", False),
                ("paper, overlapping", False),
                ("official", True),
                ("official", False),
            )
        ),
    ],
)
def test_onnx_gives_what_torch_gives(name, exemplar, tmp_path):
    network, path = build(name), tmp_path / "new" / "network.onnx"
    agreed = export_network(network, path, kind="onnx", exemplar_input=exemplar)
    assert agreed.difference < 1e-4
    assert agreed.share >= 0.999
    # And without the plugin's own comparison: sizes that were neither traced nor checked.
    generator = torch.Generator().manual_seed(5)
    least = least_side(network)
    for height, width in ((least, least), (48, 60), (73, 41)):
        inputs = {"rainy": torch.rand(1, 3, height, width, generator=generator)}
        if exemplar:
            inputs["exemplar"] = torch.rand(1, 3, width, height + 5, generator=generator)
        with torch.no_grad():
            expected = network(**inputs)
        assert (run_onnx(path, **inputs) - expected).abs().max() < 1e-4
    assert [file.name for file in path.parent.iterdir()] == ["network.onnx"]


@pytest.mark.usefixtures("needs_onnx")
@pytest.mark.slow
def test_a_bank_travels_in_the_file(tmp_path):
    network = build("paper")
    network.set_exemplar_bank(torch.randint(0, 256, (2, 3, 30, 40), dtype=torch.uint8))
    export_network(network, tmp_path / "n.onnx", kind="onnx")
    rainy = torch.rand(1, 3, 40, 50)
    with torch.no_grad():
        expected, without = network(rainy), network(rainy, rainy)
    assert (run_onnx(tmp_path / "n.onnx", rainy=rainy) - expected).abs().max() < 1e-4
    assert (without - expected).abs().max() > 1e-4


@pytest.mark.usefixtures("needs_onnx")
def test_onnx_file_names_its_inputs_and_needs_nothing_of_ours(tmp_path):
    import onnx

    export_network(build("nlcl"), tmp_path / "n.onnx", kind="onnx")
    model = onnx.load(tmp_path / "n.onnx")
    (rainy,), (derained,) = model.graph.input, model.graph.output
    sides = [dim.dim_param or dim.dim_value for dim in rainy.type.tensor_type.shape.dim]
    assert (rainy.name, derained.name) == ("rainy", "derained")
    assert sides == [1, 3, "height", "width"]
    assert [dim.dim_param or dim.dim_value for dim in derained.type.tensor_type.shape.dim] == sides
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions


@pytest.mark.parametrize(
    "name", ["nlcl", *(pytest.param(name, marks=pytest.mark.slow) for name in ("paper", "official", "unirain"))]
)
def test_pt2_gives_what_torch_gives(name, tmp_path):
    network, path = build(name), tmp_path / "network.pt2"
    assert export_network(network, path, kind="pt2").difference < 1e-4
    rainy = torch.rand(1, 3, 57, 45)
    np.save(tmp_path / "rainy.npy", rainy.numpy())
    code = (
        "import sys, torch, numpy; "
        + ("import msgnn_plugin.ops; " if isinstance(network, MSGNNArch) else "")
        + f"program = torch.export.load({str(path)!r}).module(); "
        f"rainy = torch.from_numpy(numpy.load({str(tmp_path / 'rainy.npy')!r})); "
        f"numpy.save({str(tmp_path / 'derained.npy')!r}, program(rainy).detach().numpy()); "
        "assert 'msgnn_plugin.archs' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
    with torch.no_grad():
        expected = network(rainy)
    assert np.abs(np.load(tmp_path / "derained.npy") - expected.numpy()).max() < 1e-4


@pytest.mark.usefixtures("needs_onnx")
def test_a_file_that_is_off_is_not_left(tmp_path, monkeypatch):
    from msgnn_plugin.exporting import onnx_file

    path = tmp_path / "n.onnx"
    path.write_bytes(b"older")

    class Wrong(onnx_file.OnnxRunner):
        def __call__(self, *pictures):
            derained, found = super().__call__(*pictures)
            return derained + 2e-4, found

    monkeypatch.setattr(onnx_file, "OnnxRunner", Wrong)
    with pytest.raises(RuntimeError, match=r"n.onnx must give what the network gives within 0.0001, got .* 0.0002;"):
        export_network(build("nlcl"), path, kind="onnx")
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("difference", "share"), [(float("nan"), 1.0), (2e-4, 1.0), (0.0, 0.998), (0.0, float("nan"))])
def test_what_is_no_agreement(difference, share):
    with pytest.raises(RuntimeError, match=r"x\.onnx must"):
        Agreement(((8, 8),), difference, share).require("x.onnx")
    Agreement(((8, 8),), 1e-5, 0.9995).require("x.onnx")


def test_comparison_counts_neighbours_apart_from_values():
    # A program that searches wrongly in 1 query of a picture, and then computes rightly with what it found.
    network = build("paper").requires_grad_(False)

    def program(rainy):
        with agreement.Searches() as searches:
            network(rainy)
        changed = [index.clone() for index in searches.found]
        changed[0][0, 3] = changed[0][0, 4].flip(0)
        with torch.no_grad(), agreement.Searches(changed):
            return network(rainy), changed

    found = compare(network, program, 1)
    assert found.difference < 1e-6
    assert 0.9 < found.share < 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["w.pth", "-o", "n.engine"], r"`--out` must end in .onnx or .pt2, or `--format` say which, got 'n.engine'"),
        (["none.pth", "-o", "n.pt2"], r"WEIGHTS must be a weights file .* or a name of shipped ones .*, got 'none"),
        (["w.pth", "-o", "n.pt2", "--exemplar-input"], "`--exemplar-input` must be left out .* NLCLGenerator without"),
        (["foreign.pth", "-o", "n.pt2"], "`state_dict` must hold weights of MSGNN or of an NLCL generator"),
        (["text.pth", "-o", "n.pt2"], "text.pth' must (be|hold)"),
    ],
)
def test_bad_input_is_one_sentence(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save(build("nlcl").state_dict(), "w.pth")
    torch.save({"layer.weight": torch.zeros(3)}, "foreign.pth")
    (tmp_path / "text.pth").write_text("no weights")
    assert main(["export", *arguments]) == 2
    error = capsys.readouterr().err
    assert re.search(sentence, error)
    assert error.startswith("basicsr export: error: ")
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.glob("n.*"))


def test_what_torch_cannot_export_is_one_sentence(tmp_path, monkeypatch):
    def fail(*arguments):
        raise KeyError("pages\nof\ntext")

    monkeypatch.setattr(files, "trace", fail)
    with pytest.raises(
        RuntimeError, match=r"NLCLGenerator cannot be written as pt2 by torch .*, got KeyError: [^\n]*$"
    ):
        export_network(build("nlcl"), tmp_path / "n.pt2", kind="pt2")
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "msgnn_plugin.exporting.onnx_file", raising=False)
    with pytest.raises(ImportError, match=r'pip install "msgnn_plugin\[export\]"'):
        export_network(build("nlcl"), tmp_path / "n.onnx", kind="onnx")


@pytest.mark.usefixtures("needs_onnx")
@pytest.mark.slow
def test_commands_of_the_page(page_commands, repository, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save(build("paper").state_dict(), "net_g_best.pth")
    torch.save(build("nlcl").state_dict(), "latest_net_Back.pth")
    commands = page_commands("export.md")
    assert len(commands) == 3
    for arguments in commands:
        assert main(arguments) == 0
        out = capsys.readouterr().out
        assert "from the network by at most" in out
        assert os.path.isfile(arguments[arguments.index("-o") + 1])
    import cv2

    cv2.imwrite("photo.jpg", np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    text = (repository / "docs" / "export.md").read_text()
    for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", block], check=True, env={**os.environ, "PYTHONPATH": str(repository)}
        )
    assert cv2.imread("derained.png").shape == (50, 70, 3)

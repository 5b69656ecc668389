"""Imports go one way, ops <- layers <- archs <- adapters <- cli; data and losses know no archs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "msgnn_plugin"
# Folder -> folders of ours it may import from.
ALLOWED = {
    "_extension": set(),
    "ops": {"_extension", "ops"},
    "layers": {"layers", "ops"},
    "archs": {"archs", "layers", "ops"},
    "losses": {"losses", "ops"},
    "metrics": {"metrics"},
    "data": {"data"},
    "weights": {"weights"},
    "curation": {"curation", "data"},
    # The package itself imports a network where one is asked for by name.
    "__init__": {"archs"},
    "memory": {"archs"},
    "tiling": {"archs", "layers", "memory"},
    "restoration": {"archs", "data", "tiling"},
    "exporting": {"data", "exporting", "ops"},
    "adapters": {"adapters", "archs", "layers", "losses", "metrics", "data", "ops", "tiling", "weights"},
    "cli": {
        *("__init__", "_extension", "cli", "adapters", "archs", "layers", "losses", "data", "ops"),
        *("curation", "exporting", "metrics", "restoration", "tiling", "weights"),
    },
}
# Names that the package offers beside its folders.
HOMES = {"MSGNNArch": "archs", "__version__": "__init__"}
TOOLBOXES = {"basicsr", "mmengine", "mmcv", "mmagic", "spandrel", "comfy"}
# What the networks may import: `import msgnn_plugin` needs torch alone.
TORCH_ONLY = ("ops", "layers", "archs", "losses", "memory", "tiling")
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imported_modules(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules.add(node.module)
            if node.module == "msgnn_plugin":
                modules |= {f"msgnn_plugin.{HOMES.get(alias.name, alias.name)}" for alias in node.names}
    return modules


def folder_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    folder = folder_of(path)
    ours = {name.split(".")[1] for name in imported_modules(path) if name.startswith("msgnn_plugin.")}
    assert ours <= ALLOWED[folder]
    if folder != "adapters":
        top = {name.split(".")[0] for name in imported_modules(path)}
        assert not top & TOOLBOXES
    if folder in TORCH_ONLY:
        foreign = {name.split(".")[0] for name in imported_modules(path)} - {"torch", "msgnn_plugin", "safetensors"}
        assert foreign <= set(sys.stdlib_module_names)


def test_importing_the_package_brings_torch_alone():
    code = (
        "import sys, msgnn_plugin; from msgnn_plugin.losses import NegSSIMLoss; "
        "heavy = {'cv2', 'lmdb', 'PIL', 'skimage', 'basicsr', 'mmengine', 'torchvision'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)


def test_networks_train_and_save_where_torch_is_alone(tmp_path):
    # The folder named basicsr stands for the old copies that many projects carry.
    (tmp_path / "basicsr").mkdir()
    (tmp_path / "basicsr" / "__init__.py").write_text("raise RuntimeError('not ours to import')")
    code = f"""
import sys
for name in {sorted(TOOLBOXES - {"basicsr"} | {"numpy", "cv2", "lmdb", "PIL", "skimage", "torchvision"})}:
    sys.modules[name] = None
sys.path.insert(0, {str(tmp_path)!r})
import torch
from msgnn_plugin import MSGNNArch
from msgnn_plugin.losses import NegSSIMLoss
network = MSGNNArch(num_feat=8, num_blocks=1, num_groups=2)
optimizer = torch.optim.Adam(network.parameters())
rainy = torch.rand(1, 3, 32, 32)
NegSSIMLoss()(network(rainy), rainy).backward()
optimizer.step()
torch.save(network.state_dict(), {str(tmp_path / "weights.pth")!r})
MSGNNArch.from_state_dict(torch.load({str(tmp_path / "weights.pth")!r}))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=PACKAGE.parent)

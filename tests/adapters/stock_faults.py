"""Run in a process of its own: show each fault of BasicSR as published, and print as JSON what happened.

Only what lets it be imported is mended here; `test_compat.py` compares this with what happens after `compat.apply`.
"""

import importlib
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
import yaml

folder = Path(sys.argv[1])
results = {}


def attempt(name, action):
    try:
        results[name] = action()
    except (Exception, SystemExit) as error:
        results[name] = f"{type(error).__name__}: {error}"


def bare_import(name):
    importlib.import_module(name)
    return "imported"


attempt("torchvision", lambda: bare_import("torchvision"))
from msgnn_plugin.adapters import torchvision_operators  # noqa: E402
from msgnn_plugin.adapters.basicsr.compat import functional_tensor  # noqa: E402

if torchvision_operators.needed():
    torchvision_operators.apply()
attempt("functional_tensor", lambda: bare_import("basicsr.train"))
for module in [name for name in sys.modules if name.partition(".")[0] == "basicsr"]:
    del sys.modules[module]
if functional_tensor.needed():
    functional_tensor.apply()

import basicsr.train  # noqa: E402
from basicsr.data.data_sampler import EnlargedSampler  # noqa: E402
from basicsr.models.base_model import BaseModel  # noqa: E402
from basicsr.utils import dist_util, options  # noqa: E402

option_file = folder / "stock.yml"
option_file.write_text(
    yaml.safe_dump({"_base_": "other.yml", "name": "stock", "num_gpu": 0, "datasets": {}, "path": {}, "logger": {}})
)


def parse(*arguments):
    sys.argv = ["train.py", "-opt", str(option_file), *arguments]
    opt, _ = options.parse_options(str(folder))
    return opt["name"]


def force_code():
    parse("--force_yml", "extra=[__import__('os').environ.setdefault('RAN', 'yes')]")
    return os.environ.get("RAN", "no")


attempt("force_yml", force_code)
attempt("local_rank", lambda: parse("--local-rank", "0"))

os.environ.update(RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="29511")
attempt("init_dist", lambda: dist_util.init_dist("pytorch") or "started")
model = SimpleNamespace(opt={"dist": True, "num_gpu": 0}, device=torch.device("cpu"))
attempt("ddp_device", lambda: type(BaseModel.model_to_device(model, torch.nn.Linear(1, 1))).__name__)

states = folder / "experiments" / "stock" / "training_states"
states.mkdir(parents=True)
(states.parent / "models").mkdir()
torch.save({"iter": 3}, states / "3.state")
resume_opt = {"auto_resume": True, "name": "stock", "path": {"training_states": str(states), "models": ""}}


def resume():
    found = basicsr.train.load_resume_state(resume_opt)
    return None if found is None else found["iter"]


os.chdir("/")
attempt("resume_elsewhere", resume)
os.chdir(folder)
attempt("resume_here", resume)

sampler = EnlargedSampler(list(range(5)), 1, 0, 3)
results["sampler"] = list(sampler)


class Code:
    def __reduce__(self):
        return exec, ("import os; os.environ['LOADED'] = 'yes'",)


torch.save({"params": {"weight": Code()}}, folder / "code.pth")
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
loader = SimpleNamespace(get_bare_model=lambda net: net, _print_different_keys_loading=lambda *_: None)
attempt("load_network", lambda: BaseModel.load_network(loader, torch.nn.Linear(1, 1), str(folder / "code.pth")))
results["load_network"] = os.environ.get("LOADED", "no")

(folder / "copy").mkdir()
options.copy_opt_file(str(option_file), str(folder / "copy"))
results["option_copy"] = (folder / "copy" / "stock.yml").read_text()
print("RESULTS", json.dumps(results))

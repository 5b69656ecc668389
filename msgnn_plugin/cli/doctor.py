"""`basicsr doctor`: what is installed, built and mended, and for what is missing the command that gets it."""

import argparse
import importlib.metadata
import platform

NAME = "doctor"
HELP = "say what is installed, built, mended and missing"

# Distribution -> (who needs it, the command that gets it).
PACKAGES = {
    "torch": ("everything", "pip install torch"),
    "numpy": ("data", "pip install numpy"),
    "opencv-python-headless": ("data", "pip install opencv-python-headless"),
    "pillow": ("restore", "pip install pillow"),
    "lmdb": ("lmdb", "pip install lmdb"),
    "safetensors": (".safetensors weights", "pip install safetensors"),
    "torchvision": ("BasicSR", "pip install torchvision"),
    "tensorboard": ("BasicSR", "pip install tensorboard"),
    "scikit-image": ("BasicSR", "pip install scikit-image"),
    # BasicSR's own installer needs torch while it builds and asks for tb-nightly, hence the two switches.
    "basicsr": ("train and test", "pip install --no-build-isolation --no-deps basicsr==1.4.2"),
    "mmengine": ("option files", "pip install --no-deps mmengine==0.10.7"),
}
# What single features ask for: distribution -> (which one, the extra that brings it). None of these counts as missing.
OPTIONAL = {
    "av": ("videos", "video"),
    "onnx": ("basicsr export to ONNX", "export"),
    "onnxruntime": ("basicsr export to ONNX", "export"),
    "onnxscript": ("basicsr export to ONNX", "export"),
    "spandrel": ("weights in other programs", "spandrel"),
    "daft": ("basicsr distill", "distill"),
    "gradio": ("basicsr demo", "demo"),
    "pyiqa": ("basicsr metrics --metric lpips; not for commercial use", "iqa"),
}
# Other distributions that bring the same module.
ALIASES = {"opencv-python-headless": ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")}
WANTED_VERSIONS = {"basicsr": "1.4.2"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command takes no arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the report.

    Returns:
        0 where everything is in place, 1 where something is missing.
    """
    print(f"python {platform.python_version()} on {platform.system()} {platform.machine()}")
    missing = _report_packages()
    if "torch" not in missing:
        missing |= _report_torch()
    missing |= _report_mends()
    if not missing:
        print("\nNothing is missing.")
        return 0
    print("\nMissing:")
    for name, remedy in missing.items():
        print(f"  {name}: {remedy}")
    return 1


def _report_packages() -> dict[str, str]:
    """Print versions; return what is missing with its remedy."""
    missing = {}
    print("\nPackages:")
    for name, (user, remedy) in PACKAGES.items():
        version = next(filter(None, map(_version, (name, *ALIASES.get(name, ())))), None)
        wanted = WANTED_VERSIONS.get(name)
        if version is None or (wanted and version != wanted):
            missing[name] = f"{remedy}  (for {user})"
        print(
            f"  {name:<24} {version or 'missing'}" + (f", {wanted} is needed" if wanted not in (None, version) else "")
        )
    print("\nFor single features:")
    for name, (feature, extra) in OPTIONAL.items():
        without = f"absent: pip install 'msgnn_plugin[{extra}]'"
        print(f"  {name:<24} {_version(name) or without}  ({feature})")
    return missing


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _report_torch() -> dict[str, str]:
    """Print what is compiled and what it runs on; return what is missing with its remedy."""
    import torch

    from msgnn_plugin import __version__
    from msgnn_plugin._extension import BUILD_COMMAND, BUILT, cuda_status, status

    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    print(f"\nmsgnn_plugin {__version__}")
    print(f"  compiled ops: {status()}")
    print(f"  CUDA kernels: {cuda_status()}")
    print(f"  GPUs: {', '.join(gpus) or 'none'}; CPU threads: {torch.get_num_threads()}")
    return {} if BUILT else {"compiled ops": f"{BUILD_COMMAND}  (with a C++ compiler; for speed)"}


def _report_mends() -> dict[str, str]:
    """Print what is mended; return which toolbox cannot be used and why, if so."""
    try:
        from msgnn_plugin.adapters.basicsr import compat, register

        register()
    except ImportError as error:
        print("\nMended in BasicSR: nothing, it cannot be imported.")
        return {"BasicSR's import": str(error)}
    print("\nMended in BasicSR:")
    _print_mends(compat.status())
    try:
        from msgnn_plugin.adapters.mmengine import compat as mmengine_compat
    except ImportError as error:
        print("\nMended in mmengine: nothing, it cannot be imported.")
        return {"mmengine's import": str(error)}
    print("\nMended in mmengine:")
    _print_mends(mmengine_compat.status())
    return {}


def _print_mends(rows: list[tuple[str, str, str]]) -> None:
    for name, purpose, state in rows:
        print(f"  {name:<24} {state:<10} {purpose}")

"""Builds the compiled ops out of `ops/`; all metadata is in pyproject.toml.

Without a compiler, or without torch at hand while building, the package is plain Python and says so. MSGNN_BUILD_OPS=0
leaves the ops out; MSGNN_SANITIZE=1 builds them under the address and undefined-behaviour sanitizers (`make sanitize`).
"""

import os
import sys
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent.resolve()
WARNINGS = ("-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Wno-unused-parameter")
# GCC 12 finds these in its own AVX-512 header.
FALSE_ALARMS = ("-Wno-maybe-uninitialized", "-Wno-uninitialized")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")


def extension() -> dict:
    """Return setup()'s arguments for the extension, or none."""
    if os.environ.get("MSGNN_BUILD_OPS") == "0":
        return {}
    try:
        from torch.utils.cpp_extension import BuildExtension, CppExtension
    except ImportError as error:
        print(f"msgnn_plugin: built without compiled ops, for want of torch ({error}).", file=sys.stderr)
        return {}

    class Build(BuildExtension):
        def run(self) -> None:
            try:
                super().run()
            except Exception as error:  # whatever a compiler, or its absence, may raise
                print(f"msgnn_plugin: built without compiled ops: {error}", file=sys.stderr)

    # -fopenmp for compiling only: the runtime must be the one that torch brings, not a second one.
    flags, link = ["-O3", "-g0", "-fno-math-errno", "-fopenmp", "-fvisibility=hidden", *WARNINGS, *FALSE_ALARMS], []
    if os.environ.get("MSGNN_SANITIZE") == "1":
        flags, link = [*flags, "-O1", "-g", "-fno-omit-frame-pointer", *SANITIZERS], list(SANITIZERS)
    module = CppExtension(
        "msgnn_plugin._C",
        sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("ops/cpu/*.cpp")),
        include_dirs=[str(ROOT / "ops/include")],
        depends=[str(path) for kind in ("include/*/*.h", "cpu/*.h", "cpu/*.inl") for path in ROOT.glob(f"ops/{kind}")],
        extra_compile_args=flags,
        extra_link_args=link,
    )
    return {"ext_modules": [module], "cmdclass": {"build_ext": Build.with_options(no_python_abi_suffix=True)}}


setup(**extension())

"""Builds the compiled ops out of `ops/`; all metadata is in pyproject.toml.

Without a compiler, or without torch at hand while building, the package is plain Python and says so. MSGNN_BUILD_OPS=0
leaves the ops out; MSGNN_SANITIZE=1 builds them under the address and undefined-behaviour sanitizers (`make sanitize`);
MSGNN_BUILD_CUDA=1 adds the GPU's kernels, minutes of nvcc, which need no GPU and no CUDA build of torch.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

from setuptools import Command, find_packages, setup

ROOT = Path(__file__).parent.resolve()
WARNINGS = ("-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Wno-unused-parameter")
# GCC 12 finds these in its own AVX-512 header.
FALSE_ALARMS = ("-Wno-maybe-uninitialized", "-Wno-uninitialized")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
# Machine code for data-centre GPUs of two generations; newer ones compile the last entry themselves.
GPU_CODE = ("arch=compute_80,code=sm_80", "arch=compute_90,code=sm_90", "arch=compute_90,code=compute_90")


class BuildCuda(Command):
    """`setup.py build_cuda`: msgnn_plugin/_cuda.so from ops/cuda, by nvcc alone."""

    description = "compile the GPU's kernels"
    user_options: ClassVar = [("build-lib=", "b", "directory that holds the package")]

    def initialize_options(self) -> None:
        """Start without values."""
        self.build_lib = None

    def finalize_options(self) -> None:
        """Default to this checkout."""
        self.build_lib = self.build_lib or str(ROOT)

    def run(self) -> None:
        """Compile and link; raise where that fails."""
        from torch.utils.cpp_extension import include_paths, library_paths

        nvcc = shutil.which("nvcc")
        if nvcc is None:
            raise FileNotFoundError("nvcc must be on the PATH, got none; install CUDA's toolkit")
        target = Path(self.build_lib, "msgnn_plugin", "_cuda.so")
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [nvcc, "-shared", "-cudart", "static", "-O3", "-std=c++20", "--expt-relaxed-constexpr", "-o", target]
        command += ["-Xcompiler", "-fPIC,-fvisibility=hidden"]
        command += [part for code in GPU_CODE for part in ("-gencode", code)]
        command += [f"-I{path}" for path in (ROOT / "ops/include", *include_paths())]
        command += sorted(ROOT.glob("ops/cuda/*.cu"))
        # libtorch.so brings the shims of CUDA builds with it, though the one at hand may be a CPU build.
        command += [f"-L{path}" for path in library_paths()]
        command += ["-Xlinker", "--no-as-needed", "-ltorch", "-ltorch_cpu", "-lc10"]
        subprocess.run(list(map(str, command)), check=True)


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
            if os.environ.get("MSGNN_BUILD_CUDA") == "1":
                self.build_cuda()

        def build_cuda(self) -> None:
            self.get_finalized_command("build_cuda").build_lib = str(ROOT) if self.inplace else self.build_lib
            try:
                self.run_command("build_cuda")
            except Exception as error:  # as above
                print(f"msgnn_plugin: built without CUDA kernels: {error}", file=sys.stderr)

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
    commands = {"build_ext": Build.with_options(no_python_abi_suffix=True), "build_cuda": BuildCuda}
    return {"ext_modules": [module], "cmdclass": commands}


# The manifests lie in datasets/, where a user looks; a wheel carries them inside the package that reads them.
MANIFESTS = "msgnn_plugin.data.manifest_files"

setup(
    packages=[*find_packages(include=["msgnn_plugin*"]), MANIFESTS],
    package_dir={MANIFESTS: "datasets/manifests"},
    package_data={
        MANIFESTS: ["*.yml"],
        "msgnn_plugin.cli": ["*.html"],
        "msgnn_plugin.weights": ["index.json", "*.safetensors", "*.md"],
    },
    **extension(),
)

"""Builds the compiled ops out of `ops/`; all metadata is in pyproject.toml.

MSGNN_BUILD_OPS=0 leaves them out. Without sources there is nothing to compile, and the package is plain Python.
"""

import os
from pathlib import Path

from setuptools import setup

SOURCES = sorted(str(path) for path in Path("ops/cpu").glob("*.cpp"))


def extension() -> dict:
    """Return setup()'s arguments for the extension, or none."""
    if os.environ.get("MSGNN_BUILD_OPS") == "0" or not SOURCES:
        return {}
    from torch.utils.cpp_extension import BuildExtension, CppExtension

    module = CppExtension("msgnn_plugin._C", SOURCES, include_dirs=["ops/include"], extra_compile_args=["-O3"])
    return {"ext_modules": [module], "cmdclass": {"build_ext": BuildExtension.with_options(no_python_abi_suffix=True)}}


setup(**extension())

"""Mends for what is broken in BasicSR 1.4.2 as published, each in its own file, applied only where its fault is found.

`apply` is called before anything of BasicSR is used. Nothing is copied from BasicSR: a mend replaces one name.
"""

import sys
from types import ModuleType

from msgnn_plugin.adapters import torchvision_operators
from msgnn_plugin.adapters.basicsr.compat import (
    checkpoint_loading,
    ddp_device,
    functional_tensor,
    init_dist,
    niqe,
    option_copy,
    option_parsing,
    resume_state,
    sampler,
)

# A mend is a module with MENDS (what it mends, one clause), `needed()` (is the fault there?) and `apply()`.
BEFORE_IMPORT = (torchvision_operators, functional_tensor)
AFTER_IMPORT = (
    option_parsing,
    init_dist,
    ddp_device,
    resume_state,
    sampler,
    checkpoint_loading,
    option_copy,
    niqe,
)
_applied: set[str] = set()


def apply() -> None:
    """Import BasicSR with every mend it needs; calling it again is harmless.

    Raises:
        ImportError: If BasicSR or something it imports is missing; the sentence says what to install.
    """
    apply_before_import()
    import_basicsr()
    _apply(AFTER_IMPORT)


def apply_before_import() -> None:
    """Make BasicSR importable. For processes that unpickle its objects, such as spawned loader workers."""
    try:
        _apply(BEFORE_IMPORT)
    except ModuleNotFoundError as error:
        raise _missing(error) from error


def import_basicsr() -> None:
    """Import the parts of BasicSR that the mends touch, with a helpful sentence where that fails.

    Raises:
        ImportError: If a package is missing or another package called basicsr is in the way.
    """
    try:
        import basicsr.test
        import basicsr.train
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    if not hasattr(basicsr, "__version__") or not hasattr(basicsr.train, "train_pipeline"):
        raise ImportError(
            f"BasicSR: the package found at {basicsr.__path__} is another project's copy, version 1.4.2 is needed. Run "
            "`pip install --no-build-isolation --no-deps basicsr==1.4.2` and start outside that project's folder."
        )


def status() -> list[tuple[str, str, str]]:
    """List the mends as (name, what it mends, "applied" or "not needed"), after `apply`."""
    rows = []
    for mend in BEFORE_IMPORT + AFTER_IMPORT:
        name = mend.__name__.rpartition(".")[2]
        rows.append((name, mend.MENDS, "applied" if name in _applied else "not needed"))
    return rows


def _apply(mends: tuple[ModuleType, ...]) -> None:
    for mend in mends:
        name = mend.__name__.rpartition(".")[2]
        if name not in _applied and mend.needed():
            mend.apply()
            _applied.add(name)


def _missing(error: ModuleNotFoundError) -> ImportError:
    package = (error.name or "").partition(".")[0]
    if package == "basicsr" and "basicsr" not in sys.modules:
        remedy = "pip install --no-build-isolation --no-deps basicsr==1.4.2"
    else:
        remedy = "pip install 'msgnn_plugin[basicsr]'"
    return ImportError(
        f"BasicSR: `{error.name}` is not installed. Run `{remedy}`; `basicsr doctor` lists what is missing."
    )

"""What is broken in mmengine 0.10.7 on today's libraries, mended from outside, each only where the fault is there."""

from msgnn_plugin.adapters.mmengine.compat import (
    checkpoint_loading,
    checkpoint_writing,
    latest_checkpoint,
    torchvision_import,
)

MENDS = (torchvision_import, checkpoint_loading, checkpoint_writing, latest_checkpoint)
_applied: set[str] = set()


def apply() -> None:
    """Apply the mends that are needed; calling it twice is harmless."""
    for mend in MENDS:
        if mend.__name__ not in _applied and mend.needed():
            mend.apply()
            _applied.add(mend.__name__)


def status() -> list[tuple[str, str, str]]:
    """List the mends as (name, what it mends, "applied" or "not needed"), after `apply`."""
    return [
        (mend.__name__.rpartition(".")[2], mend.MENDS, "applied" if mend.__name__ in _applied else "not needed")
        for mend in MENDS
    ]

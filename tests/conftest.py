"""Fixtures that several folders of tests share."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture
def repository() -> Path:
    """The checkout's root."""
    return ROOT


@pytest.fixture
def shared() -> Path:
    """Reference material that does not ship; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared")
    return SHARED

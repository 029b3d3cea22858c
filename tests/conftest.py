"""Settings and fixtures that every test shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples on every run; `--hypothesis-profile=explore` looks for new ones.
# A busy machine makes examples slow to draw, which says nothing about them.
settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("explore", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Return the folder of real instances that ``QBNN_DATA`` names; skip where there is none."""
    folder = os.environ.get("QBNN_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("QBNN_DATA names no folder of real instances")
    return Path(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests, those of documents, so that no process ends long after."""
    items.sort(key=lambda item: "test_documents" not in item.nodeid)

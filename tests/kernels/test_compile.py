"""Kernels compile where nothing can be written, and know when any of their files changed."""

from __future__ import annotations

import subprocess
import sys

from anneal.kernels import compile as compiling
from anneal.kernels.energy import sparse_energies

NOWHERE = """
from numba.core import caching
caching.CacheImpl._locator_classes = []  # no folder takes a cache: a read-only installation
import numpy as np
from numba.core.caching import NullCache
from anneal.kernels.energy import sparse_energies
assert isinstance(sparse_energies._cache, NullCache)
none = np.zeros(0)
print(sparse_energies(np.zeros(2, np.int64), none.astype(np.int32), none, np.ones(1),
                      np.ones((1, 1), np.int8))[0])
"""


def test_kernels_compile_without_a_cache() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOWHERE], capture_output=True, text=True, timeout=250
    )
    assert (done.returncode, done.stdout.strip()) == (0, "1.0"), done.stderr


def test_a_cached_kernel_is_stale_when_any_kernel_file_changed() -> None:
    assert len(compiling.STAMP) > 5
    assert sparse_energies._cache._cache_file._source_stamp == compiling.STAMP

"""The files of named sets of images: where they lie on a disk, and their download."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import urllib.request
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from anneal.errors import InputError
from anneal.files import Pathlike

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Source:
    """A set's name, which is its folder's, its host, and its files there with their SHA-256."""

    name: str
    url: str
    files: tuple[str, ...]
    sha256: tuple[str, ...]


IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CIFAR_ARCHIVE = "cifar-10-binary.tar.gz"

# An idx file's digest is that of its content, so a mirror may compress it as it likes.
MNIST = Source(
    "mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    IDX_FILES,
    (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)
FASHION_MNIST = Source(
    "fashion-mnist",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    IDX_FILES,
    (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)
CIFAR10 = Source(
    "cifar10",
    "https://www.cs.toronto.edu/~kriz/",
    (CIFAR_ARCHIVE,),
    ("c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",),
)


def _folders(name: str, data_dir: Pathlike | None) -> list[Path]:
    """Return the folders in which a set may lie: one that was named, or else those that are known.

    A folder that was named is the only one: files from elsewhere would not be those asked for.
    """
    base = data_dir or os.environ.get("QBNN_DATA")
    inside = (name, "cifar-10-batches-bin", "") if name == "cifar10" else (name, "")
    named = [Path(base) / part for part in inside] if base else []
    return named if data_dir else [*named, _cache() / name]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qbnn"


def find(name: str, files: Sequence[str], data_dir: Pathlike | None) -> Path | None:
    """Return the first folder that has any of the files, or None."""
    for folder in _folders(name, data_dir):
        if any((folder / file).exists() for file in files):
            return folder
    return None


def file_of(folder: Path, name: str) -> Path:
    """Return the path of a file, or of its compressed copy where there is that alone."""
    plain, packed = folder / name, folder / f"{name}.gz"
    return packed if packed.exists() and not plain.exists() else plain


def not_found(name: str, data_dir: Pathlike | None) -> InputError:
    """Return the error for a set that lies nowhere, with the ways out."""
    places = ", ".join(str(folder) for folder in _folders(name, data_dir))
    return InputError(
        f"no files of '{name}' in {places}; name their folder (data_dir, --data-dir or QBNN_DATA)"
        " or have them downloaded (download=True, --download)"
    )


def download_folder(name: str, data_dir: Pathlike | None) -> Path:
    """Return the folder, made if need be, that a set is downloaded to."""
    folder = (Path(data_dir) if data_dir else _cache()) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot create: {error.strerror or error}", path=folder) from error
    return folder


def fetch(
    source: Source, name: str, *, place: int = 0, of: int = 1, progress: Progress | None = None
) -> bytes:
    """Return a file from the set's host, once its SHA-256 is the known one.

    An idx file comes compressed and is returned plain. ``progress(fraction, remark)`` is told how
    far the set's files have come; this one is number ``place`` of them. Raises
    :class:`~anneal.errors.InputError` where the host does not answer or the digest differs.
    """
    packed = name != CIFAR_ARCHIVE
    url = f"{source.url}{name}{'.gz' if packed else ''}"
    data = bytearray()
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            total = int(answer.headers.get("Content-Length") or 0)
            while part := answer.read(1 << 18):
                data += part
                if progress is not None:
                    share = len(data) / total if total else 0.0
                    progress((place + share) / of, f"{name}, {len(data) / 1e6:.1f} MB")
        content = gzip.decompress(data) if packed else bytes(data)
    except (OSError, EOFError, ValueError, http.client.HTTPException, zlib.error) as error:
        raise InputError(f"cannot download {url}: {error}") from error
    found, known = hashlib.sha256(content).hexdigest(), source.sha256[source.files.index(name)]
    if found != known:
        raise InputError(f"{url} has SHA-256 {found}; {known} is expected")
    return content

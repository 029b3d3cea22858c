"""Files of words: lines that say something, and errors that name them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from anneal.errors import InputError
from anneal.files import Pathlike, read_bytes


class Words:
    """A text file, compressed or not, as lines of words.

    Raises :class:`~anneal.errors.InputError` for what is missing or no text.
    """

    def __init__(self, path: Pathlike) -> None:
        self.path = path
        try:
            self.text = read_bytes(path).decode()
        except UnicodeDecodeError as error:
            raise InputError("not a text file", path=path) from error

    def lines(self, header: str | None = None) -> Iterator[tuple[int, list[str]]]:
        """Yield number and words of each line, without comments (#), colons and headers.

        A header is a line whose first word is ``header``.
        """
        for number, text in enumerate(self.text.splitlines(), 1):
            if "#" in text:
                text = text[: text.index("#")]
            words = text.replace(":", " ").split()
            if words and words[0] != header:
                yield number, words

    def error(self, reason: str, line: int | None = None) -> InputError:
        """Return the error that names the file and the line."""
        return InputError(reason, path=self.path, line=line)

    def number(self, word: str, line: int, what: str) -> float:
        """Return a finite number."""
        try:
            found = float(word)
        except ValueError:
            raise self.error(f"{what} is not a number: '{word}'", line) from None
        if not math.isfinite(found):
            raise self.error(f"{what} is not finite: '{word}'", line)
        return found

    def check(self, name: str, counts: Mapping[str, tuple[int, int]], found: int) -> None:
        """Raise where a header counts otherwise; ``counts``: number and line of each."""
        if name in counts and counts[name][0] != found:
            said, line = counts[name]
            raise self.error(f"{name} is {said:,}, but there are {found:,}", line)

"""Every verb prints its results on standard output through this module."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import typer

from worker.errors import Fatal


class Printer:
    """Prints lines and results; for one thread."""

    def __init__(self) -> None:
        self._reader_gone = False

    def __call__(self, text: str) -> None:
        """Print a text and a line end.

        If the reader has gone (`| head`), print nothing more; the work continues to its exit code.

        Raises:
            Fatal: standard output cannot be written, as on a full disk.
        """
        if self._reader_gone:
            return
        try:
            typer.echo(text)
        except OSError as error:
            self._reader_gone = True
            with suppress(OSError):
                # Python flushes standard output again when it exits, and would print an error.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):
                raise Fatal(f"standard output cannot be written: {error.strerror}") from error


def complain(*lines: str) -> None:
    """Print lines to standard error, with the program's name; indented ones continue a line."""
    for line in lines:
        typer.echo(line if line.startswith(" ") else f"photo-worker: {line}", err=True)

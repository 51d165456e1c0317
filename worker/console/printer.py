"""Printer: standard output, whose reader may go away (`| head`) without ending the work."""

from __future__ import annotations

import os
import sys

import typer


class Printer:
    """Prints lines and results; for one thread."""

    def __init__(self) -> None:
        """The reader is there until it turns out not to be."""
        self._reader_gone = False

    def __call__(self, text: str) -> None:
        """Print, unless whoever read it has gone: the work and its exit code go on."""
        if self._reader_gone:
            return
        try:
            typer.echo(text)
        except BrokenPipeError:
            self._reader_gone = True
            # Python flushes once more at its end, and would complain there.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

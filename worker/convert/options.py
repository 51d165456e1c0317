"""The options of the `convert` verb, and the recipe that follows from them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from worker.photo.globs import Globs
from worker.photo.ladder import Ladder
from worker.photo.looks import OutputFormat
from worker.photo.recipe import Recipe
from worker.settings.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """The options besides the settings. `sizes` takes the place of the settings' ladder."""

    source: Path
    output: Path
    sizes: Ladder | None = None
    output_format: OutputFormat = "webp"
    globs: Globs = field(default_factory=Globs)
    keep_smaller: bool = False
    dry_run: bool = False
    limit: int | None = None
    summary: Path | None = None
    report: Path | None = None
    as_json: bool = False

    def recipe(self, settings: Settings, codec: str) -> Recipe:
        """Return the recipe: everything that decides the bytes."""
        recipe = settings.recipe(codec)
        return dataclasses.replace(
            recipe,
            ladder=self.sizes or recipe.ladder,
            looks=dataclasses.replace(recipe.looks, format=self.output_format),
        )

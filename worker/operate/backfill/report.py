"""The report of a backfill: counts, names, and the exit code."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Final

from worker.console.text import size, to_json
from worker.errors import ExitCode
from worker.operate.backfill.comparison import PUBLISHED, Standing

LISTED: Final = 1000
"""So many failures are kept by name; all are counted."""


@dataclass(slots=True, kw_only=True)
class BackfillReport:
    """The report of one run with its earlier parts; `--json` prints all of it."""

    source: str
    bucket: str
    prefix: str
    recipe: str
    dry_run: bool = False
    complete: bool = False
    stopped_by: str | None = None
    """`limit`, `max_events` or `signal`; `None` after the whole listing, and after a failure."""

    resumed_at: str | None = None
    """The name after which this part of an interrupted run began."""

    names: int = 0
    """The number of all names, also of objects that are not originals."""

    originals: int = 0
    bytes: int = 0
    ignored: int = 0
    not_chosen: int = 0
    missing: int = 0
    stale_version: int = 0
    stale_recipe: int = 0
    rejected: int = 0
    current: int = 0
    newer: int = 0
    deregistered: int = 0
    published: int = 0
    published_bytes: int = 0
    uploaded: int = 0
    replaced: int = 0
    uploaded_bytes: int = 0
    failures_total: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)
    estimate: dict[str, object] | None = None
    outcomes: dict[str, object] | None = None
    seconds: float = 0.0

    def add(self, standing: Standing, size_bytes: int) -> None:
        """Count an original and its photo's standing."""
        self.originals += 1
        self.bytes += size_bytes
        setattr(self, standing.value, getattr(self, standing.value) + 1)

    def add_failure(self, name: str, message: str) -> None:
        """Count an original that could not be compared, uploaded or published."""
        self.failures_total += 1
        if len(self.failures) < LISTED:
            self.failures.append({"object": name, "message": message})

    def to_json(self) -> str:
        """Return the report as one JSON object."""
        return to_json(asdict(self))

    def counts(self) -> dict[str, object]:
        """Return the counts for the progress line."""
        outdated = self.missing + self.stale_version + self.stale_recipe
        verb = "to publish" if self.dry_run else "published"
        return {
            "originals": self.originals,
            verb: self.published,
            "missing or stale": outdated,
            "failures": self.failures_total,
        }

    def summary(self) -> str:
        """Return the report for a terminal."""
        whole = "done" if self.complete else "NOT COMPLETE"
        verb = "would publish" if self.dry_run else "published"
        outdated = ", ".join(
            f"{each.value.replace('_', ' ')} {getattr(self, each.value):,}" for each in PUBLISHED
        )
        originals = f"{self.originals:,} originals ({size(self.bytes)}) in {self.source}"
        others = f"newer {self.newer:,}, deregistered {self.deregistered:,}"
        left = f"not chosen {self.not_chosen:,}, ignored {self.ignored:,}"
        lines = [
            f"{whole} in {self.seconds:.1f} s: {originals}",
            f"  {outdated}",
            f"  current {self.current:,}, {others}; {left}",
            f"  {verb} {self.published:,} events ({size(self.published_bytes)} of originals)",
        ]
        if self.uploaded:
            lines.append(
                f"  uploaded {self.uploaded:,} files ({size(self.uploaded_bytes)}), "
                f"{self.replaced:,} of them in place of other bytes"
            )
        if self.failures_total:
            lines.append(f"  failures {self.failures_total:,}")
        if self.outcomes is not None:
            kinds = ("ready", "rejected", "superseded", "pending")
            ends = ", ".join(f"{kind} {self.outcomes[kind]:,}" for kind in kinds)
            lines.append(f"  outcomes: {ends}")
            if self.outcomes["pending"]:
                lines.append(f"  nothing came of the pending ones: {self._question}")
        return "\n".join(lines)

    @property
    def _question(self) -> str:
        if self.stale_recipe:
            return "does a worker run, and with the settings and codecs of this backfill?"
        return "does a worker run?"

    @property
    def exit_code(self) -> ExitCode:
        """Return 7 if an original failed, was refused, or had no outcome in time."""
        unsettled = self.outcomes and (self.outcomes["rejected"] or self.outcomes["pending"])
        wrong = self.failures_total or unsettled or self.stopped_by == "max_events"
        return ExitCode.SOME_FAILED if wrong else ExitCode.OK

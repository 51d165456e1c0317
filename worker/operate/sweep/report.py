"""The report of a sweep or a verification: counts, names, and the exit code."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from worker.console.text import size, to_json
from worker.errors import ExitCode

LISTED = 1000
"""So many orphans, faults and failures are kept by name; all are counted."""


@dataclass(slots=True, kw_only=True)
class SweepReport:
    """The report of one run with its earlier parts; `--json` prints all of it."""

    bucket: str
    prefix: str
    complete: bool = False
    resumed_at: str | None = None
    """The name at which this part of an interrupted run began."""

    photos: int = 0
    objects: int = 0
    bytes: int = 0
    foreign: int = 0
    orphans_total: int = 0
    orphan_bytes: int = 0
    spared_total: int = 0
    fences_total: int = 0
    faults_total: int = 0
    repaired_total: int = 0
    failures_total: int = 0
    seconds: float = 0.0
    orphans: list[str] = field(default_factory=list)
    faults: list[dict[str, str]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)

    def add_orphan(self, name: str, size_bytes: int) -> None:
        """Count a rendition that was removed, or would be."""
        self.orphans_total += 1
        self.orphan_bytes += size_bytes
        if len(self.orphans) < LISTED:
            self.orphans.append(name)

    def add_fault(self, fault: dict[str, str], *, repaired: bool) -> None:
        """Count an untrue statement of a manifest."""
        self.faults_total += 1
        self.repaired_total += repaired
        if len(self.faults) < LISTED:
            self.faults.append(fault)

    def add_failure(self, photo_id: str, message: str) -> None:
        """Count a photo that could not be checked."""
        self.failures_total += 1
        if len(self.failures) < LISTED:
            self.failures.append({"photo_id": photo_id, "message": message})

    def to_json(self) -> str:
        """Return the report as one JSON object."""
        return to_json(asdict(self))

    def counts(self) -> dict[str, object]:
        """Return the counts for the progress line."""
        return {
            "photos": self.photos,
            "objects": self.objects,
            "orphans": self.orphans_total,
            "faults": self.faults_total,
        }

    def summary(self) -> str:
        """Return the report for a terminal, in one line."""
        parts = [
            f"photos {self.photos:,}",
            f"objects {self.objects:,}",
            f"orphans {self.orphans_total:,} ({self.orphan_bytes:,} bytes)",
            f"spared {self.spared_total:,}",
            f"fences raised {self.fences_total:,}",
            f"faults {self.faults_total:,} (repaired {self.repaired_total:,})",
            f"failures {self.failures_total:,}",
            f"foreign {self.foreign:,}",
        ]
        whole = "done" if self.complete else "NOT COMPLETE"
        return f"{whole} in {self.seconds:.1f} s: {', '.join(parts)}"

    def closing(self, removed: str) -> str:
        """Return the result in sentences.

        `removed` is the verb for orphans, `removed` or `would remove`; empty for a `verify`.
        """
        if not self.complete:
            return "It was cut short: the same command with --checkpoint FILE goes on next time."
        said = []
        if removed and self.orphans_total:
            orphans = _counted(self.orphans_total, "rendition")
            said.append(f"{removed.capitalize()} {orphans} ({size(self.orphan_bytes)}).")
        elif removed:
            said.append("There is no rendition to remove.")
        if self.faults_total:
            repaired = f", {self.repaired_total:,} of them repaired" if self.repaired_total else ""
            said.append(
                f"Manifests are untrue in {_counted(self.faults_total, 'place')}{repaired}."
            )
        if self.failures_total:
            said.append(f"{_counted(self.failures_total, 'photo')} could not be looked at.")
        if not self.faults_total and not self.failures_total:
            said.append(f"All manifests are true: {_counted(self.photos, 'photo')} looked at.")
        return " ".join(said)

    @property
    def exit_code(self) -> ExitCode:
        """Return 7 if a manifest is untrue, or a photo could not be checked."""
        wrong = self.faults_total > self.repaired_total or self.failures_total
        return ExitCode.SOME_FAILED if wrong else ExitCode.OK


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"

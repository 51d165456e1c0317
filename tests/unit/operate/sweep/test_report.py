"""The sentences that end a sweep or a verification."""

from __future__ import annotations

from worker.operate.sweep.report import SweepReport


def report(**counts: int) -> SweepReport:
    made = SweepReport(bucket="renditions", prefix="photos/", complete=True, photos=12)
    for name, count in counts.items():
        setattr(made, name, count)
    return made


def test_true_manifests_are_said_to_be_true() -> None:
    assert report().closing("") == "All manifests are true: 12 photos looked at."
    assert report(photos=1).closing("removed") == (
        "There is no rendition to remove. All manifests are true: 1 photo looked at."
    )


def test_what_was_removed_and_what_is_wrong_is_said() -> None:
    wrong = report(
        orphans_total=3,
        orphan_bytes=2_500_000,
        faults_total=2,
        repaired_total=1,
        failures_total=1,
    )
    assert wrong.closing("would remove") == (
        "Would remove 3 renditions (2.4 MiB). Manifests are untrue in 2 places, 1 of them "
        "repaired. 1 photo could not be looked at."
    )
    assert report(faults_total=1).closing("") == "Manifests are untrue in 1 place."


def test_a_run_that_was_cut_short_does_not_call_manifests_true() -> None:
    cut = report()
    cut.complete = False
    assert "true" not in cut.closing("")
    assert "--checkpoint" in cut.closing("removed")

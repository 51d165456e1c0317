"""The closed sets that others rely on: reasons, exit codes, dispositions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from worker import errors
from worker.errors import (
    PERMANENT_BY_REASON,
    ConfigurationError,
    ExitCode,
    Fatal,
    Permanent,
    PreconditionFailed,
    Reason,
    RenderFailed,
    Transient,
    WorkerError,
)


def below(kind: type[WorkerError]) -> Iterator[type[WorkerError]]:
    for child in kind.__subclasses__():
        yield child
        yield from below(child)


def test_the_reasons_are_the_contracts() -> None:
    assert {reason.value for reason in Reason} == {
        "invalid_event",
        "forbidden_source",
        "original_missing",
        "original_forbidden",
        "original_too_large",
        "unsupported_format",
        "corrupt_original",
        "render_crashed",
        "render_timeout",
        "render_out_of_memory",
    }


def test_the_exit_codes_are_the_contracts() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0,
        "UNEXPECTED": 1,
        "USAGE": 2,
        "CONFIGURATION": 3,
        "SUBSCRIPTION": 4,
        "BUCKET": 5,
        "STREAM_LOST": 6,
        "SOME_FAILED": 7,
        "BRAKE": 8,
    }


def test_each_reason_has_one_error_and_the_other_way_round() -> None:
    assert set(PERMANENT_BY_REASON) == set(Reason)
    for reason, kind in PERMANENT_BY_REASON.items():
        assert kind.reason is reason
    assert set(PERMANENT_BY_REASON.values()) == set(below(Permanent)) - {RenderFailed}


def test_render_failures_are_the_three_that_get_more_attempts() -> None:
    kinds = [kind for kind in PERMANENT_BY_REASON.values() if issubclass(kind, RenderFailed)]
    assert {kind.reason for kind in kinds} == {
        Reason.RENDER_CRASHED,
        Reason.RENDER_TIMEOUT,
        Reason.RENDER_OUT_OF_MEMORY,
    }


def test_no_error_has_two_dispositions() -> None:
    undecided = set()
    for kind in below(WorkerError):
        dispositions = [one for one in (Permanent, Transient, Fatal) if issubclass(kind, one)]
        assert len(dispositions) <= 1, kind
        if not dispositions and kind.__module__ == errors.__name__:
            undecided.add(kind)
    assert undecided == {PreconditionFailed}


def test_the_exit_code_of_each_fatal_error() -> None:
    assert {
        kind.__name__: kind.exit_code
        for kind in below(Fatal)
        if issubclass(kind, Fatal) and kind.__module__ == errors.__name__
    } == {
        "BrakeHeld": ExitCode.BRAKE,
        "ConfigurationError": ExitCode.CONFIGURATION,
        "InvalidArchive": ExitCode.USAGE,
        "NoCredentials": ExitCode.CONFIGURATION,
        "UsageFault": ExitCode.USAGE,
        "SubscriptionUnavailable": ExitCode.SUBSCRIPTION,
        "BucketUnavailable": ExitCode.BUCKET,
        "StreamLost": ExitCode.STREAM_LOST,
        "RendererBroken": ExitCode.UNEXPECTED,
        "ScratchLost": ExitCode.UNEXPECTED,
    }


def test_problems_of_a_configuration_stay_apart() -> None:
    with pytest.raises(ConfigurationError, match="one; two") as caught:
        raise ConfigurationError(["one", "two"])
    assert caught.value.problems == ["one", "two"]

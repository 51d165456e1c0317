"""Every failure of the worker, what becomes of its message, and the exit codes.

The class of an exception decides the disposition (DESIGN: failures): a `Permanent` one is
recorded, dead-lettered and acked; a `Transient` one is nacked, and the subscription's backoff
bounds it; a `Fatal` one ends the worker with its own exit code. Anything else that is raised is
treated as transient, because a bug must never cost a message.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Reason(StrEnum):
    """Why a message was dead-lettered: a closed set, used as a metric label."""

    INVALID_EVENT = "invalid_event"
    FORBIDDEN_SOURCE = "forbidden_source"
    ORIGINAL_MISSING = "original_missing"
    ORIGINAL_TOO_LARGE = "original_too_large"
    UNSUPPORTED_FORMAT = "unsupported_format"
    CORRUPT_ORIGINAL = "corrupt_original"
    RENDER_CRASHED = "render_crashed"
    RENDER_TIMEOUT = "render_timeout"
    RENDER_OUT_OF_MEMORY = "render_out_of_memory"


class ExitCode(IntEnum):
    """What `photo-worker` exits with."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    CONFIGURATION = 3
    SUBSCRIPTION = 4
    BUCKET = 5
    STREAM_LOST = 6
    SOME_FAILED = 7
    BRAKE = 8


class WorkerError(Exception):
    """The base of every error that this package raises on purpose."""


# --- permanent: another delivery of the same message would end the same way ------------------


class Permanent(WorkerError):
    """The event can never be honoured; its message belongs in the dead-letter topic."""

    reason: Reason


class InvalidEvent(Permanent):
    """The message is no event: bad JSON, a missing field, a forbidden photo id."""

    reason = Reason.INVALID_EVENT


class ForbiddenSource(Permanent):
    """The original lies in a bucket that this worker may not read for others."""

    reason = Reason.FORBIDDEN_SOURCE


class OriginalMissing(Permanent):
    """The original, or its pinned generation, is not there, after a short grace."""

    reason = Reason.ORIGINAL_MISSING


class OriginalTooLarge(Permanent):
    """More bytes or pixels than the limits allow."""

    reason = Reason.ORIGINAL_TOO_LARGE


class UnsupportedFormat(Permanent):
    """The original's first bytes belong to no format that is rendered."""

    reason = Reason.UNSUPPORTED_FORMAT


class CorruptOriginal(Permanent):
    """The format is known, but the pixels cannot be decoded to the end."""

    reason = Reason.CORRUPT_ORIGINAL


class RenderFailed(Permanent):
    """The child process did not survive this original; permanent only on the last attempt.

    A neighbour that ate the memory, or an operator's `kill`, look the same from here, so earlier
    attempts are nacked (`dispatch` decides).
    """


class RenderCrashed(RenderFailed):
    """The child process died: a signal, an abort inside a codec."""

    reason = Reason.RENDER_CRASHED


class RenderTimeout(RenderFailed):
    """The render ran past `RENDER_TIMEOUT_SECONDS` and was killed."""

    reason = Reason.RENDER_TIMEOUT


class RenderOutOfMemory(RenderFailed):
    """The render asked for more memory than its slot has."""

    reason = Reason.RENDER_OUT_OF_MEMORY


PERMANENT_BY_REASON: dict[Reason, type[Permanent]] = {
    kind.reason: kind
    for kind in (
        InvalidEvent,
        ForbiddenSource,
        OriginalMissing,
        OriginalTooLarge,
        UnsupportedFormat,
        CorruptOriginal,
        RenderCrashed,
        RenderTimeout,
        RenderOutOfMemory,
    )
}


# --- transient: a later delivery may succeed -------------------------------------------------


class Transient(WorkerError):
    """Something around the event failed; nack, and let it come back."""


class StorageUnavailable(Transient):
    """Network trouble or a 408/429/5xx that outlasted the retries in place."""


class StorageForbidden(StorageUnavailable):
    """A bucket refused this service account in mid-run; an operator can mend that."""


class ObjectMissing(Transient):
    """An object that was there a moment ago is gone; never raised for a first look-up."""


class SlotUnavailable(Transient):
    """A child process could not be started for this render (no memory, no processes)."""


class PublishFailed(Transient):
    """Pub/Sub did not confirm a publish in time."""


class PubSubUnavailable(Transient):
    """Pub/Sub did not answer, or not in time."""


class UnreadableManifest(Transient):
    """The object at a manifest's name is no manifest; nothing is overwritten."""


class ManifestContended(Transient):
    """Other workers kept winning the compare-and-swap of this manifest."""


class Fenced(Transient):
    """The sweep has retired the names of this attempt's renditions; the next gets others."""


class Draining(Transient):
    """This worker is about to stop; the message is another's to handle."""


class Braked(Transient):
    """Almost everything fails, so nothing is put on record; the message goes back as it came."""


# --- fatal: no message can be handled --------------------------------------------------------


class Fatal(WorkerError):
    """The worker cannot do its work at all; the message says what to fix."""

    exit_code = ExitCode.UNEXPECTED


class ConfigurationError(Fatal):
    """One or more settings are wrong; `problems` holds a line for each."""

    exit_code = ExitCode.CONFIGURATION

    def __init__(self, problems: list[str]) -> None:
        """Keep the lines apart, so that a caller can print them as a list."""
        super().__init__("; ".join(problems))
        self.problems = problems


class UsageFault(Fatal):
    """The command line asks for something that cannot be meant."""

    exit_code = ExitCode.USAGE


class InvalidArchive(Fatal):
    """A file is no archive of dead letters."""

    exit_code = ExitCode.USAGE


class NoCredentials(Fatal):
    """Google's libraries find no credentials."""

    exit_code = ExitCode.CONFIGURATION

    @classmethod
    def of(cls, error: Exception) -> NoCredentials:
        """What to do about it, after what Google says of it."""
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        return cls(
            f"no Google credentials: {first_line} On a laptop: gcloud auth application-default "
            "login; on Google Cloud: attach a service account; locally: photo-worker local"
        )


class SubscriptionUnavailable(Fatal):
    """The subscription or a topic is missing or forbidden."""

    exit_code = ExitCode.SUBSCRIPTION


class BucketUnavailable(Fatal):
    """A bucket is missing or forbidden."""

    exit_code = ExitCode.BUCKET


class StreamLost(Fatal):
    """The streaming pull ended for a reason that reopening it cannot mend."""

    exit_code = ExitCode.STREAM_LOST


class BrakeHeld(Fatal):
    """Almost everything failed, and went on failing while the brake was on."""

    exit_code = ExitCode.BRAKE


class ScratchLost(Fatal):
    """The folder for originals and renditions has vanished under the running worker."""


class RendererBroken(Fatal):
    """Child processes cannot be started at all (bad installation, no memory)."""


# --- answers of the object store that a caller decides about ----------------------------------


class PreconditionFailed(WorkerError):
    """The object is not at the generation that the write was conditioned on (HTTP 412)."""

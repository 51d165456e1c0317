"""Errors: every failure of the worker, what happens to its message, and the exit codes.

The class of an exception decides: a `Permanent` one is recorded, dead-lettered and acked; a
`Transient` one is nacked, and the subscription's backoff bounds the retries; a `Fatal` one ends the
worker with its own exit code. All other exceptions are nacked too, so a bug does not lose messages.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Reason(StrEnum):
    """Why a message was dead-lettered: a closed set, used as a metric label."""

    INVALID_EVENT = "invalid_event"
    FORBIDDEN_SOURCE = "forbidden_source"
    ORIGINAL_MISSING = "original_missing"
    ORIGINAL_FORBIDDEN = "original_forbidden"
    ORIGINAL_TOO_LARGE = "original_too_large"
    UNSUPPORTED_FORMAT = "unsupported_format"
    CORRUPT_ORIGINAL = "corrupt_original"
    RENDER_CRASHED = "render_crashed"
    RENDER_TIMEOUT = "render_timeout"
    RENDER_OUT_OF_MEMORY = "render_out_of_memory"


class ExitCode(IntEnum):
    """The exit codes of `photo-worker`."""

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
    """The event cannot be honoured; its message belongs in the dead-letter topic.

    `on_record`: a manifest says so already, since an earlier delivery of the same message.
    """

    reason: Reason
    on_record = False


class InvalidEvent(Permanent):
    """The message is not an event: bad JSON, a missing field, a forbidden photo id."""

    reason = Reason.INVALID_EVENT


class ForbiddenSource(Permanent):
    """The original lies outside of the allowed buckets, or among the worker's own output."""

    reason = Reason.FORBIDDEN_SOURCE


class OriginalMissing(Permanent):
    """The original, or its pinned generation, is still missing after a short grace period."""

    reason = Reason.ORIGINAL_MISSING


class OriginalForbidden(Permanent):
    """Cloud Storage refuses this original, and answers for the others in its bucket."""

    reason = Reason.ORIGINAL_FORBIDDEN


class OriginalTooLarge(Permanent):
    """The original has more bytes or pixels than the limits allow."""

    reason = Reason.ORIGINAL_TOO_LARGE


class UnsupportedFormat(Permanent):
    """The original's first bytes show a format that the worker does not render."""

    reason = Reason.UNSUPPORTED_FORMAT


class CorruptOriginal(Permanent):
    """The format is known, but the pixels cannot all be decoded."""

    reason = Reason.CORRUPT_ORIGINAL


class RenderFailed(Permanent):
    """The child process failed on this original; permanent only from a certain attempt on.

    Another process that used up the memory, or an operator's `kill`, cause the same error, so
    `dispatch` nacks the first attempts (`RENDER_ATTEMPTS`).
    """


class RenderCrashed(RenderFailed):
    """The child process died by a signal or an abort inside a codec, or broke the protocol."""

    reason = Reason.RENDER_CRASHED


class RenderTimeout(RenderFailed):
    """The render ran past `WORKER_RENDER_TIMEOUT_SECONDS` and was killed."""

    reason = Reason.RENDER_TIMEOUT


class RenderOutOfMemory(RenderFailed):
    """The render asked for more memory than was predicted for it."""

    reason = Reason.RENDER_OUT_OF_MEMORY


PERMANENT_BY_REASON: dict[Reason, type[Permanent]] = {
    kind.reason: kind
    for kind in (*Permanent.__subclasses__(), *RenderFailed.__subclasses__())
    if kind is not RenderFailed
}


# --- transient: a later delivery may succeed -------------------------------------------------


class Transient(WorkerError):
    """Something around the event failed; the message is nacked and comes back."""


class StorageUnavailable(Transient):
    """Network trouble, or a 408, 429 or 5xx, that outlasted the retries in place."""


class StorageForbidden(StorageUnavailable):
    """A bucket refused this service account while the worker runs; an operator can repair this."""


class StorageRefused(StorageUnavailable):
    """Cloud Storage refuses a request for what it is about: an object under another's key, say."""


class ObjectMissing(Transient):
    """An object that existed a moment ago is gone."""


class SlotUnavailable(Transient):
    """A child process could not be started for this render (no memory, no processes)."""


class PublishFailed(Transient):
    """Pub/Sub did not confirm a publish in time."""


class PubSubUnavailable(Transient):
    """Pub/Sub did not answer in time."""


class UnreadableManifest(Transient):
    """The object with a manifest's name is not a manifest; the worker does not change it."""


class ManifestContended(Transient):
    """Other workers kept winning the compare-and-swap of this manifest."""


class Fenced(Transient):
    """The sweep has retired this attempt's rendition names; the next attempt uses other names."""


class Draining(Transient):
    """This worker is about to stop; another worker handles the message."""


class Braked(Transient):
    """The brake is on: the message is nacked, and its failure is not recorded."""


# --- fatal: the worker cannot handle any message ----------------------------------------------


class Fatal(WorkerError):
    """The worker cannot do its work; the message says what to fix."""

    exit_code = ExitCode.UNEXPECTED


class ConfigurationError(Fatal):
    """One or more settings are wrong; `problems` holds a line for each."""

    exit_code = ExitCode.CONFIGURATION

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class UsageFault(Fatal):
    """The command line asks for something impossible."""

    exit_code = ExitCode.USAGE


class InvalidArchive(Fatal):
    """A file is not an archive of dead letters."""

    exit_code = ExitCode.USAGE


class NoCredentials(Fatal):
    """Google's libraries find no credentials."""

    exit_code = ExitCode.CONFIGURATION

    @classmethod
    def of(cls, error: Exception) -> NoCredentials:
        """Return the error with Google's text and the remedies."""
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
    """The streaming pull ended for good, or a service did not answer at the start."""

    exit_code = ExitCode.STREAM_LOST


class BrakeHeld(Fatal):
    """The brake was on for too long, and no trial succeeded."""

    exit_code = ExitCode.BRAKE


class ScratchLost(Fatal):
    """The folder for originals and renditions has vanished while the worker runs."""


class RendererBroken(Fatal):
    """Child processes cannot be started (bad installation, no memory)."""


# --- an answer of the object store that the caller decides about ------------------------------


class PreconditionFailed(WorkerError):
    """The object is not at the generation that the write was conditioned on (HTTP 412)."""

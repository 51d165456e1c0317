"""Retries: send a request to Cloud Storage until the service answers or patience ends.

This is the only retry loop, with full jitter. The client's own loop is off, because two nested
loops would outlast a drain. This module translates the exceptions of Google, requests and urllib3,
except for two answers that callers decide about: `NotFound` and `PreconditionFailed`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar

import google.auth.exceptions
import requests
import urllib3.exceptions
from google.api_core import exceptions as api
from google.cloud.storage.exceptions import InvalidResponse
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from worker.errors import StorageForbidden, StorageRefused, StorageUnavailable
from worker.gcs.patience import Patience
from worker.gcs.transfers import Damaged

T = TypeVar("T")

_LONGEST_WAIT_SECONDS: Final = 3.0

_KEY_SERVICE: Final = "kms"
"""In the text of a 403 because of a Cloud KMS key: disabled, destroyed, or not to be used."""

_TRANSIENT: Final = (
    api.ServerError,
    api.TooManyRequests,
    requests.exceptions.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.Timeout,
    google.auth.exceptions.TransportError,
    # A raw download reads urllib3's stream, so requests does not translate its exceptions.
    urllib3.exceptions.HTTPError,
    Damaged,
    ConnectionError,
)


@dataclass(frozen=True, slots=True)
class Retries:
    """A retry loop for requests; thread-safe."""

    patience: Patience

    def __call__(self, request: Callable[[], T]) -> T:
        """Call the request until it succeeds or patience ends; return its result.

        Raises:
            api.NotFound, api.PreconditionFailed: the service's answer.
            StorageForbidden: this service account lacks a permission.
            StorageRefused: the service refused it for what it is about.
            StorageUnavailable: every attempt failed.
        """
        retrying = Retrying(
            retry=retry_if_exception(_is_transient),
            wait=wait_random_exponential(
                multiplier=self.patience.backoff_seconds, max=_LONGEST_WAIT_SECONDS
            ),
            stop=stop_after_attempt(self.patience.attempts)
            | stop_before_delay(self.patience.retry_seconds),
            reraise=True,
        )
        try:
            return retrying(request)
        except (api.NotFound, api.PreconditionFailed):
            raise
        except (api.BadRequest, api.Forbidden, api.Unauthorized) as error:
            if isinstance(error, api.BadRequest) or _KEY_SERVICE in str(error).casefold():
                raise StorageRefused(str(error)) from error
            raise StorageForbidden(str(error)) from error
        except (
            *_TRANSIENT,
            TimeoutError,
            api.GoogleAPICallError,
            InvalidResponse,
            requests.exceptions.RequestException,
            google.auth.exceptions.GoogleAuthError,
        ) as error:
            raise StorageUnavailable(f"{type(error).__name__}: {error}") from error


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, api.GoogleAPICallError) and error.code == HTTPStatus.REQUEST_TIMEOUT:
        return True
    return isinstance(error, _TRANSIENT)

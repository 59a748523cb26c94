"""Which errors of an S3 client are transient, and which come from how the store is addressed; the rest is neither.

| what happened | tried again for | why |
|---|---|---|
| 500, 502, 503, 504, 429, 408, SlowDown, InternalError, throttling | `RETRY_SECONDS` | the service restarts, or asks for fewer requests |
| connection refused or reset, no answer in time, body or answer cut off | `RETRY_SECONDS` | the network or the service is away |
| a name cannot be resolved at present (EAI_AGAIN) | `RETRY_SECONDS` | so the resolver itself says |
| a name is unknown | `UNRESOLVED`; `RETRY_SECONDS` once the store has answered | mostly a typing error, unless it was right before |
| a body that the store received damaged (BadDigest, IncompleteBody) | `RETRY_SECONDS` | it was damaged on the way |
| wrong keys, no rights, no bucket, a wrong region or clock, any other 4xx | never | the next answer is the same |
| no credentials, an endpoint that is no URL, a certificate that does not verify | never | no request would leave this machine |
| no room (507, a quota) | by the stages alone, as a full local disk | somebody may free some |
| anything else | by the stages alone | nobody knows |
"""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import aiohttp
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from bilp.storage.backend import RETRY_SECONDS

UNRESOLVED = 20.0  # seconds; for a name that does not exist
ATTEMPTS, CONNECT_SECONDS, READ_SECONDS = 2, 10, 30

_TRANSIENT_CODES = {
    *("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "RequestTimeoutException", "PriorRequestNotComplete"),
    *("Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException"),
    *("TooManyRequests", "TooManyRequestsException", "RequestLimitExceeded", "BandwidthLimitExceeded", "OperationAborted"),
    *("IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch", "408", "429"),
}
_NEVER = (501, 505)  # what a server cannot do at all
_ABOUT_THE_OBJECT = (404, 409, 412, 416)
_FULL = 507
_FULL_CODES = {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientCapacity", str(_FULL)}
_UNKNOWN_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}

_TRANSIENT = (
    *(boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError, ResponseParserError),
    *(boto.CredentialRetrievalError, boto.MetadataRetrievalError),
    *(aiohttp.ClientError, http.client.HTTPException, ConnectionError, TimeoutError, socket.gaierror),
)
_NETWORK = {errno.ETIMEDOUT, errno.ENETUNREACH, errno.ENETDOWN, errno.ENETRESET, errno.EHOSTUNREACH, errno.EHOSTDOWN}


def client_settings() -> dict[str, Any]:
    """How long a client of botocore's tries by itself: twice, for one part that is refused must not cost a large file.

    More retries of its own would only multiply the waiting of `bilp.storage.transient`.
    """
    retries = {"total_max_attempts": ATTEMPTS, "mode": "standard"}
    return {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS, "retries": retries}


def retry_seconds(error: Exception) -> float:
    """Seconds for which asking again after this error makes sense; 0.0 if the answer would be the same, or nobody knows."""
    answer = response(error)
    if answer is not None:
        return RETRY_SECONDS if _is_transient(answer) else 0.0
    if _is_wrong(error):
        return 0.0
    numbers = {cause.errno for cause in _causes(error) if isinstance(cause, socket.gaierror)}
    if numbers & _UNKNOWN_NAME:
        return UNRESOLVED
    transient = isinstance(error, _TRANSIENT) or (isinstance(error, OSError) and error.errno in _NETWORK)
    return RETRY_SECONDS if transient else 0.0


def misconfigured(error: Exception) -> bool:
    """Whether the error comes from credentials, rights or the address, so that no attempt will ever succeed."""
    answer = response(error)
    if answer is None:
        return retry_seconds(error) == 0.0 and (_is_wrong(error) or isinstance(error, (boto.BotoCoreError, PermissionError)))
    status, code = _status(answer), _code(answer)
    full = status == _FULL or code in _FULL_CODES
    refused = (300 <= status < 500 and status not in _ABOUT_THE_OBJECT) or status in _NEVER or code == "NoSuchBucket"
    return (refused or isinstance(error, PermissionError)) and not full and not _is_transient(answer)


def response(error: BaseException) -> dict[str, Any] | None:
    """What the store answered, which s3fs keeps in the cause of the Python error that it raises."""
    for cause in _causes(error):
        found = getattr(cause, "response", None)
        if isinstance(found, dict) and found.get("Error"):
            return found
    return None


def error_code(error: BaseException) -> str:
    """The error code of S3; the status as a number where something else answered, or nothing at all."""
    return _code(response(error) or {})


def _is_transient(answer: dict[str, Any]) -> bool:
    status, code = _status(answer), _code(answer)
    if code in _TRANSIENT_CODES or status in (408, 429):
        return True
    return status >= 500 and status not in (*_NEVER, _FULL) and code not in _FULL_CODES


def _is_wrong(error: Exception) -> bool:
    """Whether the request could not even be made: no such endpoint, or one whose certificate is not trusted here."""
    wrong = (ssl.SSLCertVerificationError, aiohttp.InvalidURL, UnicodeError)
    return isinstance(error, ValueError) or any(isinstance(cause, wrong) for cause in _causes(error))


def _status(answer: dict[str, Any]) -> int:
    """The HTTP status; an answer without a body, as to HEAD, has it in the place of the code. 0 if it is in neither."""
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if isinstance(status, int):
        return status
    code = _code(answer)
    return int(code) if len(code) == 3 and code.isdecimal() else 0


def _code(answer: dict[str, Any]) -> str:
    return str(answer.get("Error", {}).get("Code", ""))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it: causes, and the errors that clients of HTTP keep as an attribute."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        cause = waiting.pop(0)
        if not isinstance(cause, BaseException) or any(cause is other for other in seen):
            continue
        seen.append(cause)
        yield cause
        kept = getattr(cause, "kwargs", None)  # of botocore
        waiting += [
            cause.__cause__,
            getattr(cause, "os_error", None),  # of aiohttp
            getattr(cause, "certificate_error", None),
            kept.get("error") if isinstance(kept, dict) else None,
        ]

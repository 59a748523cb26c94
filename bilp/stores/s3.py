"""Objects in S3: AWS, or anything else that speaks its protocol, found through the usual AWS_* variables alone.

A path is `bucket/key`. Listings are never cached, because several processes write.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import s3fs
from botocore import exceptions as boto

from bilp.stores.s3_errors import client_settings
from bilp.stores.s3_errors import misconfigured as misconfigured
from bilp.stores.s3_errors import patience as patience

# s3fs cuts larger content into several requests, and some stores ignore the condition on those.
LARGEST_CREATE = 90 << 20
CONFLICT_RETRIES = 6
MOST_CLIENTS = 4

_clients: dict[tuple[int, tuple[tuple[str, str], ...]], Any] = {}

_BAD_KEYS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired")
_WRONG_REGION = ("PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "301", "307", "400")


def read(path: str) -> bytes:
    # One request: several parallel ranges could come from two versions of the object.
    content: bytes = _files().cat_file(path, max_concurrency=1)
    return content


def size(path: str) -> int:
    return int(_facts(path)["size"])


def sizes(path: str, names: Iterable[str]) -> dict[str, int]:
    """One listing, a request for every thousand objects below the path."""
    below = f"{path}/"
    try:
        found: dict[str, Any] = _files().find(path, detail=True)
    except FileNotFoundError as error:
        if _code(error) == "NoSuchBucket":
            raise
        return {}
    there = {name.removeprefix(below): int(facts["size"]) for name, facts in found.items() if name.startswith(below)}
    return {name: there[name] for name in names if name in there}


def exists(path: str) -> bool:
    try:
        _files().info(path)
    except FileNotFoundError:
        return False
    return True


def write(path: str, data: bytes) -> None:
    _files().pipe_file(path, data)


def upload(path: str, source: Path) -> None:
    _files().put_file(str(source), path)


def create(path: str, data: bytes) -> bool:
    """One PUT with `If-None-Match: *`.

    If the answer to a successful PUT is lost and the client repeats it, this returns False although the content is ours.
    """
    if len(data) > LARGEST_CREATE:
        raise ValueError(f"{len(data)} bytes are too many for one conditional write (at most {LARGEST_CREATE})")
    for attempt in range(CONFLICT_RETRIES):
        try:
            _files().pipe_file(path, data, mode="create")
            return True
        except FileExistsError:
            return False
        except OSError as error:
            code = _code(error)
            if code in ("PreconditionFailed", "412"):  # not every server names the condition that s3fs looks for
                return False
            if code not in ("ConditionalRequestConflict", "409") or attempt == CONFLICT_RETRIES - 1:
                raise
        time.sleep(0.05 * 2**attempt)  # AWS asks to repeat while another conditional write is under way
    raise AssertionError("unreachable")


def names(path: str) -> list[str]:
    below = f"{path}/"
    try:
        found: list[str] = _files().ls(path, detail=False, refresh=True)
    except FileNotFoundError as error:
        if _code(error) == "NoSuchBucket":
            raise
        return []
    return [name.removeprefix(below).rstrip("/") for name in found if name.startswith(below) and name != below]


def delete(path: str) -> None:
    if "/" not in path:
        raise ValueError("a whole bucket is never deleted here")
    files = _files()
    try:
        files.rm(path, recursive=True)
    except FileNotFoundError as error:
        if _code(error) == "NoSuchBucket":
            raise
        return
    if exists(path):  # a bulk deletion reports refused objects in a body that s3fs does not look at
        raise PermissionError("objects are still there after deletion")


def download(path: str, target: Path) -> None:
    _files().get_file(path, str(target))


def version(path: str) -> str:
    facts = _facts(path)
    return f"{facts['ETag']}-{facts['size']}"


def missing(error: Exception) -> bool:
    return isinstance(error, FileNotFoundError) and _code(error) != "NoSuchBucket"


def refused(error: Exception) -> bool:
    return isinstance(error, PermissionError)


def remedy(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the local disk is full: free some space, or set BILP_CACHE to another disk"
    code = _code(error)
    endpoint = _endpoint() or "AWS"
    if isinstance(error, (boto.NoCredentialsError, boto.PartialCredentialsError)):
        return "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if isinstance(error, (boto.ConnectionError, boto.HTTPClientError)):
        return f"no answer from {endpoint}: start the service, or correct AWS_ENDPOINT_URL (for TLS with your own CA also AWS_CA_BUNDLE)"
    if code == "NoSuchBucket":
        return f"the bucket does not exist at {endpoint}: create it, or correct the URI or AWS_ENDPOINT_URL"
    if code in _BAD_KEYS:
        return f"{endpoint} refuses the credentials ({code}): correct AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
    if code == "RequestTimeTooSkewed":
        return "the clock of this machine is wrong: set it"
    if code in _WRONG_REGION:
        return "the request was refused as malformed: set AWS_DEFAULT_REGION to the region of the bucket"
    if isinstance(error, PermissionError):
        return f"{endpoint} denies access: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the rights to read, write and list there"
    return "check the URI and the AWS_* variables, or try again if the service was busy"


def _facts(path: str) -> dict[str, Any]:
    facts: dict[str, Any] = _files().info(path)
    if facts["type"] != "file":
        raise FileNotFoundError(path)
    return facts


def _code(error: BaseException) -> str:
    """The error code of S3, which s3fs keeps in the cause of the Python error it raises."""
    response = getattr(error.__cause__ or error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def _prepare_environment() -> None:
    """Defaults for what the user did not set; they also reach child processes and other S3 clients in this one."""
    os.environ.setdefault("AWS_RETRY_MODE", "standard")
    if "AWS_REGION" in os.environ:  # set by several platforms, but botocore reads only the other name
        os.environ.setdefault("AWS_DEFAULT_REGION", os.environ["AWS_REGION"])
    host = urlsplit(_endpoint() or "https://amazonaws.com").hostname or ""
    if not host.endswith(("amazonaws.com", "amazonaws.com.cn")):
        # Servers older than 2025 do not know the checksums that clients send since then.
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        os.environ.setdefault("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
        # Without credentials the client would wait for a metadata service that exists only inside AWS.
        os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")


def _files() -> Any:
    """One client per process, shared by its threads; a new one after a fork or when the AWS_* variables change."""
    _prepare_environment()
    settings = sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))
    key = (os.getpid(), tuple(settings))
    client = _clients.get(key)
    if client is None:
        if len(_clients) >= MOST_CLIENTS:
            _clients.clear()
        client = _clients.setdefault(key, _new_client())  # it connects when it is used, so a spare one costs nothing
    return client


def _new_client() -> Any:
    # No region is passed on: s3fs would send it when it creates a bucket, where us-east-1 is refused.
    files = s3fs.S3FileSystem(
        endpoint_url=_endpoint(),
        use_listings_cache=False,
        skip_instance_cache=True,
        config_kwargs=client_settings(),
    )
    files.retries = 1  # see `client_settings`
    return files

"""Objects in S3: AWS, or anything else that speaks its protocol, found through the usual AWS_* variables alone.

A path is `bucket/key`. Listings are never cached, because several processes write.

What is read is compared with the object's size and, where it is one, with the MD5 that the store gives as its ETag. An answer
that does not fit, or that is not S3's, is asked for once more over a new connection; reading costs one request as long as the
answers are right. Encrypted objects and those that were uploaded in parts have other ETags: only checksums of manifests tell there.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from botocore import exceptions as boto

from bilp.storage import etags, s3_client
from bilp.storage.backend import Version, Written
from bilp.storage.s3_client import Files, NoPieces, NotS3, endpoint, files
from bilp.storage.s3_client import reconnect as reconnect
from bilp.storage.s3_errors import error_code, response
from bilp.storage.s3_errors import misconfigured as misconfigured
from bilp.storage.s3_errors import retry_seconds as retry_seconds

T = TypeVar("T")

# s3fs cuts larger content into several requests, and some stores ignore the condition on those.
LARGEST_CREATE = 90 << 20
PART = 8 << 20
"""Bytes of a part of a larger upload; PARTS_AT_ONCE of them are in memory, and a copy of each on its way."""
PARTS_AT_ONCE = 3
MOST_PARTS = 9000
"""Of one object; S3 allows 10,000."""
CONFLICT_RETRIES = 6
_READ_BLOCK = 8 << 20

_BAD_KEYS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired")
_WRONG_REGION = ("PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "301", "307", "400")


def read(path: str, most: int | None = None) -> bytes:
    content, stamp = _asked(lambda client: client.whole(path, most))
    if etags.fits(path, stamp, etags.md5(content)):
        return content
    reconnect()
    second, stamp = files().whole(path, most)
    if not etags.fits(path, stamp, etags.md5(second)):
        etags.settle(path, content == second)
    return second


def span(path: str, start: int, stop: int, stamp: str) -> bytes:
    return _asked(lambda client: client.span(path, start, stop, stamp))


def size(path: str) -> int:
    return version(path).size


def sizes(path: str, names: Iterable[str]) -> dict[str, int]:
    """One listing, a request for every thousand objects below the path."""
    there = _below(path)
    return {name: there[name].size for name in names if name in there}


def objects(path: str) -> dict[str, Version]:
    """Of more than a thousand, the folders are listed beside each other."""
    try:
        found = _asked(lambda client: client.listed(path))
    except FileNotFoundError as error:
        if error_code(error) == "NoSuchBucket":
            raise
        return {}
    return {name: Version(*listed) for name, listed in found.items()}


def listing(path: str) -> dict[str, Written]:
    return {name: Written(int(facts["size"]), facts["LastModified"].timestamp()) for name, facts in _facts_below(path).items() if name}


def written_at(path: str) -> float:
    facts = _asked(lambda client: client.info(path, refresh=True))
    if facts["type"] != "file":
        raise FileNotFoundError(path)
    return float(facts["LastModified"].timestamp())


def touch(path: str) -> None:
    """A copy of the object onto itself, which moves none of its bytes to here."""
    bucket, _, key = path.partition("/")
    source = {"Bucket": bucket, "Key": key}
    files().call_s3("copy_object", Bucket=bucket, Key=key, CopySource=source, MetadataDirective="REPLACE")


def exists(path: str) -> bool:
    """One request for an object, two for anything else: the listing that tells what lies below shows the object, too."""
    bucket, _, key = path.partition("/")
    try:
        if not key:
            _asked(lambda client: client.info(path))
        else:
            _asked(lambda client: client.call_s3("head_object", Bucket=bucket, Key=key))
        return True
    except FileNotFoundError:
        return bool(key) and _is_listed(bucket, key)


def _is_listed(bucket: str, key: str) -> bool:
    def listed(prefix: str, **options: Any) -> Any:
        return _asked(lambda client: client.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **options))

    try:
        beside = listed(key, Delimiter="/")
        names = [*(item["Key"] for item in beside.get("Contents", ())), *(item["Prefix"] for item in beside.get("CommonPrefixes", ()))]
        if key in names or f"{key}/" in names or not beside.get("IsTruncated"):
            return key in names or f"{key}/" in names
        return bool(listed(f"{key}/", MaxKeys=1).get("Contents"))
    except FileNotFoundError:  # no such bucket
        return False


def write(path: str, data: bytes) -> None:
    files().pipe_file(path, data)


def upload(path: str, source: Path) -> None:
    size = source.stat().st_size
    part = max(PART, -(-size // MOST_PARTS)) if size > LARGEST_CREATE else None  # smaller ones go in one piece, with an ETag that tells
    files().put_file(str(source), path, chunksize=part, max_concurrency=PARTS_AT_ONCE)


def create(path: str, data: bytes) -> bool:
    """One PUT with `If-None-Match: *`.

    If the answer to a successful PUT is lost and the client repeats it, this returns False although the content is ours.
    """
    if len(data) > LARGEST_CREATE:
        raise ValueError(f"{len(data)} bytes are too many for one conditional write (at most {LARGEST_CREATE})")
    for attempt in range(CONFLICT_RETRIES):
        try:
            files().pipe_file(path, data, mode="create")
            return True
        except FileExistsError:
            return False
        except OSError as error:
            code = error_code(error)
            if code in ("PreconditionFailed", "412"):  # not every server names the condition that s3fs looks for
                return False
            if code not in ("ConditionalRequestConflict", "409") or attempt == CONFLICT_RETRIES - 1:
                raise
        time.sleep(0.05 * 2**attempt)  # AWS asks to repeat while another conditional write is under way
    raise AssertionError("unreachable")


def create_from(path: str, source: Path) -> bool:
    return create(path, source.read_bytes())


def can_create(size: int) -> bool:
    return size <= LARGEST_CREATE


def copy(path: str, target: str) -> None:
    files().cp_file(path, target)


def create_copy(path: str, target: str) -> bool:
    raise NotImplementedError("few stores copy an object on the condition that nothing lies at the target")


def can_copy() -> bool:
    return False


def digest(path: str) -> str:
    with files().open(path, "rb", cache_type="readahead", block_size=_READ_BLOCK) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def names(path: str) -> list[str]:
    below = f"{path}/"
    try:
        found: list[str] = _asked(lambda client: client.ls(path, detail=False, refresh=True))
    except FileNotFoundError as error:
        if error_code(error) == "NoSuchBucket":
            raise
        return []
    inside = (name.removeprefix(below).rstrip("/") for name in found if name.startswith(below))
    return [name for name in inside if name not in ("", ".", "..") and "/" not in name]  # others no address leads to


def delete(path: str) -> None:
    """Also where a name holds what others take for a pattern, and nothing but what lies at the path and below."""
    if "/" not in path:
        raise ValueError("a whole bucket is never deleted here")
    below = _below(path)
    if not below:
        return
    bucket, _, key = path.partition("/")
    doomed = [key, *(f"{key}/{name}" for name in below if name)]  # there may be an object of this name beside those below
    client = files()
    told = [each for each in doomed if each.isprintable()]  # control characters have no place in the list of a bulk deletion
    for start in range(0, len(told), 1000):
        keys = [{"Key": each} for each in told[start : start + 1000]]
        client.call_s3("delete_objects", Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
    for each in set(doomed).difference(told):
        client.call_s3("delete_object", Bucket=bucket, Key=each)
    if exists(path):  # a bulk deletion reports refused objects in its body
        raise PermissionError("objects are still there after deletion")


def tidy(path: str) -> None:
    """There are no folders."""


def download(path: str, target: Path, expected: Version | None = None, at_once: bool = False, size: int | None = None) -> None:
    _fetch(path, target, at_once, size)
    if expected is None or _is_of(path, target, expected):
        return
    first = etags.md5_of(target)
    reconnect()
    _fetch(path, target, at_once=True)
    if not _is_of(path, target, expected):
        _judge(path, target, expected, first == etags.md5_of(target))


def version(path: str) -> Version:
    facts = _asked(lambda client: client.info(path))
    if facts["type"] != "file":
        raise FileNotFoundError(path)
    return Version(str(facts["ETag"]), int(facts["size"]))


def missing(error: Exception) -> bool:
    return isinstance(error, FileNotFoundError) and error_code(error) != "NoSuchBucket"


def refused(error: Exception) -> bool:
    return isinstance(error, PermissionError)


def remedy(error: Exception) -> str:
    code = error_code(error)
    at = endpoint() or "AWS"
    if isinstance(error, (boto.NoCredentialsError, boto.PartialCredentialsError)):
        return "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if isinstance(error, (boto.ConnectionError, boto.HTTPClientError)):
        return f"no answer from {at}: start the service, or correct AWS_ENDPOINT_URL (for TLS with your own CA also AWS_CA_BUNDLE)"
    if _is_foreign(error) and _operation(error) != "HeadObject":
        return f"what answers at {at} is no S3 store (a proxy, or a network that wants a login?): correct AWS_ENDPOINT_URL, or the network"
    if code == "NoSuchBucket":
        return f"the bucket does not exist at {at}: create it, or correct the URI or AWS_ENDPOINT_URL"
    if code in _BAD_KEYS:
        return f"{at} refuses the credentials ({code}): correct AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
    if code == "RequestTimeTooSkewed":
        return "the clock of this machine is wrong: set it"
    if code in _WRONG_REGION:
        return "the request was refused as malformed: set AWS_DEFAULT_REGION to the region of the bucket"
    if isinstance(error, PermissionError):
        return f"{at} denies access: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the rights to read, write and list there"
    return "check the URI and the AWS_* variables, or try again if the service was busy"


def _asked(question: Callable[[Files], T]) -> T:
    """The answer to a question that changes nothing; one that is not S3's is asked once more, over a new connection."""
    try:
        return question(files())
    except Exception as error:
        absent = isinstance(error, FileNotFoundError) and response(error) is not None and _operation(error) == "HeadObject"
        if absent or not _is_foreign(error) or retry_seconds(error):  # what is busy is asked again by `bilp.storage.transient`
            raise
    reconnect()
    return question(files())


def _is_foreign(error: Exception) -> bool:
    """Whether something else than S3 answered, which names its errors by words; only the answer to a HEAD has no place for them."""
    return isinstance(error, NotS3) or (response(error) is not None and not re.match("[A-Za-z]", error_code(error)))


def _below(path: str) -> dict[str, Version]:
    """Every object below the path, by the rest of its key; '' is the object at the path itself."""
    found = _facts_below(path)
    return {name: Version(str(facts.get("ETag") or facts.get("LastModified")), int(facts["size"])) for name, facts in found.items()}


def _facts_below(path: str) -> dict[str, dict[str, Any]]:
    """What a listing says of every object below the path, likewise."""
    try:
        found: dict[str, Any] = _asked(lambda client: client.find(path, detail=True))
    except FileNotFoundError as error:
        if error_code(error) == "NoSuchBucket":
            raise
        return {}
    below = f"{path}/"
    inside = {name.removeprefix(below): facts for name, facts in found.items() if name.startswith(below) and name != below}
    if path in found:
        inside[""] = found[path]
    return inside


def _fetch(path: str, target: Path, at_once: bool, size: int | None = None) -> None:
    """Fill a local file: in pieces if the object is known to be large, unless something on the way gives no pieces of that one object."""
    if not at_once and size is not None and size > s3_client.PIECE:
        with suppress(NoPieces):
            _asked(lambda client: client.pieces(path, target, size))
            return
    _asked(lambda client: client.get_file(path, str(target), max_concurrency=1))


def _judge(path: str, file: Path, expected: Version, same: bool) -> None:
    """After two copies that are not of the expected version: raises OSError, unless they are the same and the ETag tells nothing."""
    arrived = file.stat().st_size
    if arrived != expected.size:
        raise OSError(f"{arrived} bytes arrived of an object of {expected.size}")
    if not etags.tells(path, expected.stamp):
        raise OSError("it was replaced while it was read")
    etags.settle(path, same)


def _is_of(path: str, file: Path, expected: Version) -> bool:
    """Whether a copy is of this version, as far as that can be told."""
    if file.stat().st_size != expected.size:
        return False
    if etags.tells(path, expected.stamp):
        return etags.fits(path, expected.stamp, etags.md5_of(file))
    return expected.size <= s3_client.PIECE or version(path) == expected  # a larger one came in pieces, which could be of several versions


def _operation(error: BaseException) -> str:
    return str(getattr(error.__cause__ or error, "operation_name", ""))

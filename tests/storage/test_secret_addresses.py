"""Addresses that hold a login or a signature: refused everywhere, without a word of what may be secret; others are left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from pydantic import ValidationError

from bilp.config import IngestConfig, PipelineConfig, PruneConfig
from bilp.config.import_options import ImportOptions
from bilp.config.label_noise import LabelNoiseConfig
from bilp.errors import ImpossibleUri
from bilp.storage import objects
from bilp.storage.uris import refuse_secrets
from bilp.text.redaction import redacted

SIGNED = "https://bucket.s3.amazonaws.com/data/train.parquet?"
SECRET = [
    "s3://AKIAHIDDEN:hidden-word@bucket/prefix",
    "s3://AKIAHIDDEN:hidden/word+hidden@bucket/prefix",
    "s3://AKIAHIDDEN:hidden-word@bucket",
    "S3://hidden@bucket/prefix",
    "s3:/AKIAHIDDEN:hidden-word@bucket/prefix",
    "s3://AKIAHIDDEN%3Ahidden-word%40bucket/prefix",
    "s3://AKIAHIDDEN%253Ahidden-word%2540bucket/prefix",
    "s3:///AKIAHIDDEN:hidden-word@bucket",
    "AKIAHIDDEN:hidden-word@bucket/prefix",
    "//hidden:hidden@bucket/prefix",
    "https://hidden:hidden-word@example.org/data.parquet",
    "https://hidden-token@example.org/data.parquet",
    "https://hidden:hidden/word@example.org:8443/x",
    "HTTPS://hidden:hidden-word@[::1]/x",
    "file://hidden:hidden-word@host/data",
    "gs://hidden@bucket/x",
    "abfss://hidden@account.dfs.core.windows.net/x?sig=hidden",
    f"{SIGNED}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAHIDDEN%2F20261128&X-Amz-Signature=hidden",
    f"{SIGNED}x-amz-security-token=hidden",
    f"{SIGNED}AWSAccessKeyId=AKIAHIDDEN&Expires=1&Signature=hidden",
    "s3://bucket/data?X-Amz-Signature=hidden",
    f"s3://bucket/data{quote('?X-Amz-Signature=hidden')}",
    "https://account.blob.core.windows.net/c/x?sv=2026&sig=hidden",
    "https://example.org/x?token=hidden",
    "https://example.org/x?page=1&access_token=hidden#part",
    "https://example.org/x#id_token=hidden",
    "https://example.org/x?api_key=hidden",
    "https://example.org/x?password=hidden",
    "bucket.s3.amazonaws.com/x?X-Amz-Signature=hidden",
]
PLAIN = [
    "/data/photos@2x",
    "/data/a:b@c",
    "./a:b@c",
    "photos@2x/token",
    "file:///me@work/x",
    "s3://bucket/a@b",
    "s3://bucket/a:b@c",
    "s3://bucket/what?page=1&size=3",
    "s3://bucket/token=1/part-0.parquet",
    "s3://bucket/year=2026/x;v=1",
    "s3://my_old.Bucket/signature",
    "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/mine/key",
]


def tells_nothing(text: str) -> bool:
    return "hidden" not in text.lower()


@pytest.mark.parametrize("address", SECRET)
def test_secret_addresses_are_refused_without_repeating_them(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILP_STORAGE", address)
    refusals: list[Callable[[], object]] = [
        lambda: objects.as_uri(address),
        objects.storage_root,
        lambda: IngestConfig(source="folder", uri=address),
        lambda: IngestConfig(source="digits", uri=address),
        lambda: PipelineConfig(dataset="folder", ingest={"uri": address, "resolution": -1}),
        lambda: PruneConfig(score_list=address),
        lambda: IngestConfig(corrections=address),
        lambda: LabelNoiseConfig(kind="file", file=address),
        lambda: ImportOptions(file=address),
    ]
    if "://" in address:
        refusals.append(lambda: PipelineConfig(ipc=-1, recipe="no-such-recipe", ingest={"uri": address}))
    if not address.startswith("s3:///"):
        refusals.append(lambda: objects.as_uri(Path(address)))
    for refuse in refusals:
        with pytest.raises(ImpossibleUri) as caught:
            refuse()
        assert tells_nothing(str(caught.value))
        assert "s3://bucket/prefix" in str(caught.value), "says what to write instead"


@pytest.mark.parametrize("address", [address for address in SECRET if "://" in address and not set("?#") & set(unquote(address))])
def test_whatever_reaches_the_storage_is_not_repeated_either(address: str) -> None:
    for ask in (objects.read, objects.children, objects.check_storage, objects.localize, lambda uri: objects.join(uri, "..")):
        try:
            ask(address)
        except objects.StorageError as error:
            assert tells_nothing(str(error))


@pytest.mark.parametrize("address", PLAIN)
def test_others_are_left_alone(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert objects.as_uri(address)
    assert IngestConfig(source="folder", uri=address).uri == address
    assert redacted(f"cannot read {address}: nothing lies there", {}) == f"cannot read {address}: nothing lies there"


def test_what_an_address_among_other_settings_is_refused_for_does_not_come_after_another_error() -> None:
    """What pydantic says of one wrong value may repeat the settings beside it."""
    given: dict[str, Any] = {"datasett": "x", "evaluate": {"networks": [{"name": SECRET[0]}]}, "ingest": {"urii": SECRET[4]}}
    with pytest.raises(ImpossibleUri, match=r"evaluate\.networks\.name: this address holds a login") as caught:
        PipelineConfig.model_validate(given)
    assert tells_nothing(str(caught.value))
    with pytest.raises(ValidationError):
        PipelineConfig.model_validate({"datasett": "x"})


def test_values_that_hold_themselves_are_looked_at_once() -> None:
    circle: dict[str, Any] = {"dataset": "digits"}
    circle["distill"] = {"lists": [circle], "ipc": circle}
    refuse_secrets(circle)
    with pytest.raises(ValidationError, match="mappings lie in each other more than 32 deep"):
        PipelineConfig.model_validate(circle)
    circle["distill"]["lists"].append(SECRET[0])
    with pytest.raises(ImpossibleUri, match=r"distill\.lists: this address holds a login"):
        refuse_secrets(circle)


def test_a_name_may_be_an_address_too() -> None:
    with pytest.raises(ImpossibleUri) as caught:
        PipelineConfig.model_validate({"ingest": {SECRET[0]: 1, "resolution": -1}})
    assert tells_nothing(str(caught.value))


def test_texts_that_are_no_addresses_are_not_judged() -> None:
    refuse_secrets({"classes": ["a:b@c", "what?", "key=1"], "n": 1, "deep": [{"x": ("token", None, Path("/a"))}]})


@pytest.mark.parametrize("address", [address for address in SECRET if "://" in address and "///" not in address and "%25" not in address])
def test_texts_for_people_leave_them_out(address: str) -> None:
    said = redacted(f"the client says: no answer from '{address}' (attempt 1); try again", {})
    assert tells_nothing(said)
    assert said.startswith("the client says: no answer from '")
    assert said.endswith("' (attempt 1); try again")

"""Bills in S3: how a bucket is reached, and copies of its objects in a folder.

Objects are read in ranges, several at a time, each with the etag that the object had at first: one that is replaced while it
is read is noticed and read again. A connection that breaks goes on at the last byte that came. What S3 throttles or can't
do at the moment is asked again with growing waits, a bounded number of times. Memory is `parallel` times PIECE_BYTES.
"""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rdspend.bills.files import JSON_SUFFIXES, SUFFIXES
from rdspend.bills.refusal import explain, explain_role
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable

PARALLEL = 8
RANGE_BYTES = 16 << 20
PIECE_BYTES = 1 << 18

# How often a request is sent, and how often in a row a connection may break before it has brought PROGRESS_BYTES.
ATTEMPTS, BREAKS, PROGRESS_BYTES = 6, 6, 1 << 16

# How often an object is read that is replaced meanwhile.
READINGS = 3


@dataclass(frozen=True)
class S3:
    """How a bucket is reached, all optional: boto3's own chain of credentials and regions is what is used otherwise.

    `role_arn` is assumed with those credentials, with `external_id` where its trust policy asks for one. With
    `requester_pays` our account pays for the requests. `parallel` is the number of ranges read at a time.
    """

    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    role_arn: str | None = None
    external_id: str | None = None
    requester_pays: bool = False
    parallel: int = PARALLEL

    def __post_init__(self) -> None:
        if not 1 <= self.parallel <= 64:
            raise ValueError(f"parallel: found {self.parallel}; expected 1 to 64 ranges at a time")
        if self.external_id and not self.role_arn:
            raise ValueError("external_id: found without role_arn; expected the role that asks for it")
        if self.external_id is not None and not re.fullmatch(r"[\w+=,.@:/-]{2,1224}", self.external_id):
            raise ValueError(f"external_id: found {self.external_id!r}; expected 2 to 1224 letters, digits and _+=,.@:/-")
        if self.role_arn is not None and not re.fullmatch(r"arn:[^:]+:iam::[^:]*:role/\S+", self.role_arn):
            raise ValueError(f"role_arn: found {self.role_arn!r}; expected arn:aws:iam::123456789012:role/NAME")
        if self.endpoint_url is not None and not urlsplit(self.endpoint_url).hostname:
            raise ValueError(f"endpoint_url: found {self.endpoint_url!r}; expected https://HOST")

    def client(self, address: str) -> Any:
        """An S3 client. Raises SourceUnavailable when there are no credentials or no such profile."""
        import boto3
        import botocore.session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        try:
            chain = botocore.session.Session(profile=self.profile)
            if self.region:
                chain.set_config_variable("region", self.region)
            if self.role_arn:
                # Before everything else of the chain, which then only signs the request for the role.
                chain.get_component("credential_provider").providers.insert(0, _Role(chain, self.role_arn, self.external_id))
            config = Config(
                retries={"mode": "standard", "total_max_attempts": chain.get_config_variable("max_attempts") or ATTEMPTS},
                max_pool_connections=self.parallel,
                s3=self._addressing(chain),
            )
            client = boto3.session.Session(botocore_session=chain).client("s3", endpoint_url=self.endpoint_url, config=config)
        except (BotoCoreError, ValueError) as error:
            raise SourceUnavailable(f"{address}: can't set up S3: {error}") from error
        if self.requester_pays:
            client.meta.events.register("before-call.s3", _pay)
        return client

    def _addressing(self, chain: Any) -> dict[str, str] | None:
        """Other servers seldom have a host name for every bucket, so the bucket goes into the path."""
        host = urlsplit(self.endpoint_url or "").hostname or ""
        said = chain.get_scoped_config().get("s3")
        if not host or re.search(r"\.amazonaws\.com(\.cn)?$", host) or (isinstance(said, dict) and "addressing_style" in said):
            return None
        return {"addressing_style": "path"}


def _pay(params: dict[str, Any], **_: object) -> None:
    params["headers"]["x-amz-request-payer"] = "requester"


class _Role:
    """botocore's way to add credentials: a role's, for an hour at a time, taken anew before they expire."""

    METHOD = "assume-role"
    CANONICAL_NAME = None

    def __init__(self, chain: Any, role_arn: str, external_id: str | None) -> None:
        self.chain, self.role_arn, self.external_id = chain, role_arn, external_id

    def load(self) -> Any:
        from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
        from botocore.exceptions import ClientError, NoCredentialsError

        others = [provider for provider in self.chain.get_component("credential_provider").providers if provider is not self]
        source = next((found for found in (provider.load() for provider in others) if found), None)
        if source is None:
            raise NoCredentialsError
        extra = {"RoleSessionName": "rdspend"} | ({"ExternalId": self.external_id} if self.external_id else {})
        fetcher = AssumeRoleCredentialFetcher(self.chain.create_client, source, self.role_arn, extra)

        def assume() -> Any:
            try:
                return fetcher.fetch_credentials()
            except ClientError as error:
                raise SourceUnavailable(explain_role(error, self.role_arn, self.external_id)) from error

        return DeferredRefreshableCredentials(assume, self.METHOD)


def split(address: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`."""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    if not bucket:
        raise ConfigError(f"path: found {address!r}, expected s3://bucket/key, prefix or glob")
    return bucket, key


@dataclass(frozen=True)
class _Object:
    """An object as it was when the reading began. `md5` is None where its etag is no MD5, `modified` is epoch seconds."""

    key: str
    size: int
    etag: str
    md5: str | None
    modified: float

    def ranges(self) -> Iterator[tuple[int, int]]:
        for start in range(0, self.size, RANGE_BYTES):
            yield start, min(start + RANGE_BYTES, self.size)


class _Replaced(Exception):
    """The object is not the one any more that the reading began with."""


class _Broken(Exception):
    """The connection ended before the answer did."""


@dataclass(frozen=True)
class Store:
    """A bucket. Every refusal of S3 is a SourceUnavailable that says what to do."""

    bucket: str
    client: Any

    def find(self, key: str) -> list[str]:
        """Keys of the object, below the folder, or matching the glob."""
        if key.lower().endswith((*SUFFIXES, *JSON_SUFFIXES, ".zip")) and not glob.has_magic(key) and self._find(key):
            return [key]
        stem = re.split(r"[*?\[]", key)[0] if glob.has_magic(key) else key and key.rstrip("/") + "/"
        with self._answers(stem, "s3:ListBucket"):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=stem)
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return sorted(k for k in keys if not k.endswith("/") and (not glob.has_magic(key) or fnmatch.fnmatchcase(k, key)))

    def stat(self, key: str) -> tuple[int, str, float]:
        """Size and etag of an object, and when it was written, in epoch seconds."""
        now = self._look(key)
        return now.size, now.etag.strip('"'), now.modified

    def read(self, key: str) -> bytes:
        """The bytes of a small object, such as a manifest."""
        for _ in range(READINGS):
            now = self._look(key)
            content = bytearray(now.size)

            def keep(at: int, piece: bytes, content: bytearray = content) -> None:
                content[at : at + len(piece)] = piece

            if all(self._take(now, start, end, keep) for start, end in now.ranges()) and _is_whole(now, bytes(content)):
                return bytes(content)
        raise self._never_whole(key)

    def fetch(self, key: str, folder: Path) -> Path:
        """A copy of an object below the folder."""
        return self.fetch_all([key], folder)[0]

    def fetch_all(self, keys: Sequence[str], folder: Path) -> list[Path]:
        """Copies of objects below the folder, in the order of their keys. A copy has its name once it is whole."""
        targets = {key: self._target(key, folder) for key in keys}
        missing = dict(targets)
        with ThreadPoolExecutor(self.client.meta.config.max_pool_connections) as pool:
            for _ in range(READINGS):
                for key in self._copy(missing, pool):
                    del missing[key]
        if missing:
            raise self._never_whole(next(iter(missing)))
        return [targets[key] for key in keys]

    def _copy(self, targets: dict[str, Path], pool: ThreadPoolExecutor) -> list[str]:
        """Read objects once, all their ranges side by side; the keys of those whose copies are whole."""
        parts = [(now, _part_of(targets[now.key])) for now in pool.map(self._look, targets)]
        for now, part in parts:
            part.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as out:
                out.truncate(now.size)
        ranges = [(now, part, start, end) for now, part in parts for start, end in now.ranges()]
        taken = list(pool.map(lambda r: self._take_into(*r), ranges))
        replaced = {now.key for (now, *_), whole in zip(ranges, taken, strict=True) if not whole}
        read = [(now, part) for now, part in parts if now.key not in replaced]
        whole = [now.key for (now, _), is_whole in zip(read, pool.map(lambda r: _is_whole(*r), read), strict=True) if is_whole]
        for key in whole:
            _part_of(targets[key]).replace(targets[key])
        return whole

    def _target(self, key: str, folder: Path) -> Path:
        if any(part in ("", ".", "..") for part in key.split("/")):
            raise BadRecord("a key with an empty part, `.` or `..` can't be copied to a file", f"s3://{self.bucket}/{key}")
        return folder / self.bucket / key

    def _never_whole(self, key: str) -> SourceUnavailable:
        return SourceUnavailable(
            f"s3://{self.bucket}/{key}: read {READINGS} times, and each time it was replaced meanwhile or its bytes "
            "did not have the MD5 of its etag; collect again when the export is finished"
        )

    # --- one object ---------------------------------------------------------------------------------------------------

    def _look(self, key: str) -> _Object:
        """What an object is now. Raises SourceUnavailable when there is none."""
        now = self._find(key, ())
        assert now is not None  # what is absent was raised
        return now

    def _find(self, key: str, absent: Sequence[str] = ("NoSuchKey", "404")) -> _Object | None:
        """What an object is now, None when there is none. One byte is read, since what HEAD refuses comes without a reason."""
        answer = self._answer(key, (*absent, "InvalidRange", "416"), self.client.get_object, Key=key, Range="bytes=0-0")
        if answer is None:  # an empty object has no first byte
            answer = self._answer(key, absent, self.client.head_object, Key=key)
            if answer is None:
                return None
        else:
            answer["Body"].close()
        size = int(answer["ContentRange"].rpartition("/")[2]) if "ContentRange" in answer else answer["ContentLength"]
        etag = answer["ETag"]
        encrypted = answer.get("SSECustomerAlgorithm") or str(answer.get("ServerSideEncryption", "")).startswith("aws:kms")
        is_md5 = re.fullmatch(r'"[0-9a-f]{32}"', etag) and not encrypted and not self.bucket.endswith("--x-s3")
        return _Object(key, size, etag, etag.strip('"') if is_md5 else None, answer["LastModified"].timestamp())

    def _take_into(self, now: _Object, part: Path, start: int, end: int) -> bool:
        descriptor = os.open(part, os.O_WRONLY)
        try:
            return self._take(now, start, end, lambda at, piece: _write(descriptor, piece, at))
        finally:
            os.close(descriptor)

    def _take(self, now: _Object, start: int, end: int, keep: Callable[[int, bytes], None]) -> bool:
        """Hand the bytes of a range on as they come; False when the object was replaced.

        A broken connection is taken up at the next byte. Raises SourceUnavailable when BREAKS in a row bring nearly nothing.
        """
        at = since = start
        breaks = 0
        while at < end:
            try:
                for piece in self._stream(now, at, end):
                    keep(at, piece)
                    at += len(piece)
            except _Replaced:
                return False
            except _Broken as error:
                breaks, since = (breaks + 1, since) if at - since < PROGRESS_BYTES else (0, at)
                if breaks >= BREAKS:
                    raise SourceUnavailable(
                        f"s3://{self.bucket}/{now.key}: the connection broke {breaks} times in a row, last at byte {at} of "
                        f"{now.size}: {error}; check the network and what lies between"
                    ) from error
                time.sleep(random.random() * 2 ** (breaks - 1) if breaks else 0)
        return True

    def _stream(self, now: _Object, start: int, end: int) -> Iterator[bytes]:
        """The bytes of a range in pieces. Raises _Replaced, _Broken."""
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        wanted, changed = f"bytes {start}-{end - 1}/{now.size}", ("PreconditionFailed", "412", "InvalidRange", "416")
        span = {"Range": f"bytes={start}-{end - 1}", "IfMatch": now.etag}
        answer = self._answer(now.key, changed, self.client.get_object, Key=now.key, **span)
        if answer is None or answer["ETag"] != now.etag:
            raise _Replaced
        with answer["Body"] as body:
            if answer.get("ContentRange") != wanted:
                raise SourceUnavailable(
                    f"s3://{self.bucket}/{now.key}: asked for {wanted}, got {answer.get('ContentRange', 'no range')}; the "
                    "server or a proxy before it does not read ranges"
                )
            while start < end:
                try:
                    piece = body.read(min(PIECE_BYTES, end - start))
                except (BotoCoreError, HTTPError, OSError) as error:
                    raise _Broken(error) from error
                if not piece:
                    raise _Broken("the answer ended early")
                start += len(piece)
                yield piece

    # --- refusals -----------------------------------------------------------------------------------------------------

    def _answer(self, key: str, absent: Sequence[str], ask: Callable[..., Any], **request: str) -> Any:
        """The answer to a request for an object, None when it is one of the errors that say that it is absent."""
        from botocore.exceptions import ClientError

        with self._answers(key, "s3:GetObject"):
            try:
                return ask(Bucket=self.bucket, **request)
            except ClientError as error:
                if error.response["Error"]["Code"] in absent:
                    return None
                raise

    @contextmanager
    def _answers(self, key: str, action: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise SourceUnavailable(
                f"s3://{self.bucket}/{key}: {explain(error, self.bucket, key, action, self.client)}"
            ) from error


def _part_of(target: Path) -> Path:
    """The name of a copy that is not whole yet."""
    return target.with_name(f"{target.name}.part")


def _write(descriptor: int, piece: bytes, at: int) -> None:
    rest = memoryview(piece)
    while rest:
        written = os.pwrite(descriptor, rest, at)
        at, rest = at + written, rest[written:]


def _is_whole(now: _Object, copy: Path | bytes) -> bool:
    """Whether a copy has the MD5 that its etag states, where it states one."""
    if now.md5 is None:
        return True
    if isinstance(copy, bytes):
        return hashlib.md5(copy, usedforsecurity=False).hexdigest() == now.md5
    with copy.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
    return found.hexdigest() == now.md5

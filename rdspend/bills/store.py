"""Bills in S3: a bucket, what it refuses and what to do about it, and copies of its objects in a folder."""

from __future__ import annotations

import fnmatch
import glob
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdspend.bills.files import CHUNK_BYTES, SUFFIXES
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable


@dataclass(frozen=True)
class S3:
    """How a bucket is reached, all optional: boto3's own chain of credentials and regions is what is used otherwise."""

    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None

    def client(self, address: str) -> Any:
        """An S3 client. Raises SourceUnavailable when there are no credentials or no such profile."""
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        try:
            session = boto3.session.Session(profile_name=self.profile, region_name=self.region)
            retries = Config(retries={"mode": "standard", "max_attempts": 3})
            return session.client("s3", endpoint_url=self.endpoint_url, config=retries)
        except (BotoCoreError, ValueError) as error:
            raise SourceUnavailable(f"{address}: can't set up S3: {error}") from error


def split(address: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`."""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    if not bucket:
        raise ConfigError(f"path: found {address!r}, expected s3://bucket/key, prefix or glob")
    return bucket, key


@dataclass(frozen=True)
class Store:
    """A bucket. Every refusal of S3 is a SourceUnavailable that says what to do."""

    bucket: str
    client: Any

    def find(self, key: str) -> list[str]:
        """Keys of the object, below the folder, or matching the glob."""
        if key.lower().endswith(SUFFIXES) and not glob.has_magic(key) and self._exists(key):
            return [key]
        stem = re.split(r"[*?\[]", key)[0] if glob.has_magic(key) else key and key.rstrip("/") + "/"
        with self._answers(f"s3://{self.bucket}/{stem}", f"s3:ListBucket on arn:aws:s3:::{self.bucket}"):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=stem)
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return sorted(k for k in keys if not k.endswith("/") and (not glob.has_magic(key) or fnmatch.fnmatchcase(k, key)))

    def fetch(self, key: str, folder: Path) -> Path:
        """Copy an object below the folder, in pieces."""
        if any(part in ("", ".", "..") for part in key.split("/")):
            raise BadRecord("a key with an empty part, `.` or `..` can't be copied to a file", f"s3://{self.bucket}/{key}")
        target = folder / self.bucket / key
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._answers(f"s3://{self.bucket}/{key}", f"s3:GetObject on arn:aws:s3:::{self.bucket}/{key}"):
            answer = self.client.get_object(Bucket=self.bucket, Key=key)
            with target.open("wb") as out, answer["Body"] as body:
                shutil.copyfileobj(body, out, CHUNK_BYTES)
        if target.stat().st_size != answer["ContentLength"]:
            raise SourceUnavailable(f"s3://{self.bucket}/{key}: the download ended early; try again")
        return target

    def _exists(self, key: str) -> bool:
        from botocore.exceptions import ClientError

        with self._answers(f"s3://{self.bucket}/{key}", f"s3:GetObject on arn:aws:s3:::{self.bucket}/{key}"):
            try:
                self.client.head_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    return False
                raise
        return True

    @contextmanager
    def _answers(self, address: str, permission: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
            if code == "NoSuchBucket":
                say = f"there is no bucket {self.bucket!r}; check path, region and endpoint_url"
            elif code in ("NoSuchKey", "404"):
                say = "there is no such object; check path"
            elif code in ("AccessDenied", "403", "Forbidden"):
                say = f"S3 denied it; allow {permission} (and kms:Decrypt where your own key encrypts it)"
            elif code in ("SlowDown", "TooManyRequests", "RequestLimitExceeded") or "hrottl" in code or status == 503:
                say = "S3 is throttling; it is asked again at the next collect"
            else:
                say = f"S3 answered {code}: {error.response['Error'].get('Message', '')}"
            raise SourceUnavailable(f"{address}: {say}") from error
        except BotoCoreError as error:
            raise SourceUnavailable(f"{address}: {error}") from error

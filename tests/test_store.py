"""The settings of S3, and the folders that copies of bills lie in; the bucket itself is tested in tests/servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rdspend.bills.scratch import YOUNG_SECONDS, scratch
from rdspend.bills.store import S3, split
from rdspend.errors import ConfigError, SourceUnavailable

ROLE = "arn:aws:iam::123456789012:role/billing/reader"


@pytest.fixture(autouse=True)
def no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"parallel": 0}, r"parallel: found 0; expected 1 to 64"),
        ({"parallel": 65}, r"parallel: found 65"),
        ({"external_id": "x-1"}, r"external_id: found without role_arn"),
        ({"role_arn": ROLE, "external_id": ""}, r"external_id: found ''; expected 2 to 1224 letters"),
        ({"role_arn": "reader"}, r"role_arn: found 'reader'; expected arn:aws:iam::123456789012:role/NAME"),
        ({"role_arn": "arn:aws:iam::1:user/reader"}, r"role_arn"),
        ({"endpoint_url": "s3.example.org"}, r"endpoint_url: found 's3\.example\.org'; expected https://HOST"),
    ],
)
def test_a_setting_that_can_not_be_meant_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        S3(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("role", [ROLE, "arn:aws-cn:iam::123456789012:role/reader", "arn:aws:iam:::role/reader"])
def test_roles_of_every_partition_are_taken(role: str) -> None:
    assert S3(role_arn=role, external_id="x-1").role_arn == role


def test_an_address_is_bucket_and_key() -> None:
    assert split("s3://bills/export/2026-10") == ("bills", "export/2026-10")
    assert split("s3://bills") == ("bills", "")
    with pytest.raises(ConfigError, match="s3://bucket"):
        split("s3:///key")


def test_a_profile_that_is_not_there_is_named() -> None:
    with pytest.raises(SourceUnavailable, match=r"s3://bills: can't set up S3: .*\(absent\)"):
        S3(profile="absent").client("s3://bills")


def test_region_and_number_of_connections_are_the_client_s() -> None:
    client = S3(region="eu-central-1", parallel=3).client("s3://bills")
    assert (client.meta.region_name, client.meta.config.max_pool_connections) == ("eu-central-1", 3)


@pytest.mark.parametrize(
    ("endpoint_url", "config", "url"),
    [
        ("https://s3.example.org", "", "https://s3.example.org/bills/a"),
        ("https://s3.example.org", "[default]\ns3 =\n  addressing_style = virtual\n", "https://bills.s3.example.org/a"),
        (None, "", "https://bills.s3."),
    ],
)
def test_a_server_of_ones_own_needs_no_host_name_for_every_bucket(
    endpoint_url: str | None, config: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(config)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    client = S3(endpoint_url, "eu-west-1").client("s3://bills")
    signed = client.generate_presigned_url("get_object", Params={"Bucket": "bills", "Key": "a"})
    assert signed.startswith(url)


# --- the folder that copies lie in ------------------------------------------------------------------------------------


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temporary folder of this process and its children."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    before, tempfile.tempdir = tempfile.tempdir, None
    yield folder
    tempfile.tempdir = before


def _holding(temporary: Path, age_seconds: float) -> tuple[subprocess.Popen[bytes], Path]:
    """A process that holds a folder with a copy in it."""
    code = (
        "import time; from rdspend.bills.scratch import scratch\n"
        "with scratch('focus') as f: (f / 'copy').write_text('1'); print(flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE)
    assert process.stdout
    with process.stdout:
        process.stdout.readline()
    (folder,) = temporary.glob("rdspend-focus-*")
    then = time.time() - age_seconds
    os.utime(folder, (then, then))
    return process, folder


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(10)


def test_what_a_killed_process_left_behind_is_swept_by_the_next(temporary: Path) -> None:
    process, folder = _holding(temporary, 2 * YOUNG_SECONDS)
    _kill(process)
    assert (folder / "copy").exists()
    with scratch("focus") as mine:
        assert list(temporary.iterdir()) == [mine]
    assert not list(temporary.iterdir())


def test_a_folder_whose_owner_lives_is_left_alone(temporary: Path) -> None:
    process, folder = _holding(temporary, 2 * YOUNG_SECONDS)
    try:
        with scratch("focus"):
            assert (folder / "copy").exists()
    finally:
        _kill(process)


def test_a_folder_of_such_a_name_that_somebody_else_made_is_left_alone(temporary: Path) -> None:
    bills = temporary / "rdspend-focus-december"
    bills.mkdir()
    (bills / "bill.csv").write_text("1")
    os.utime(bills, (0, 0))
    with scratch("focus"):
        pass
    assert (bills / "bill.csv").exists()


def test_a_young_folder_and_those_of_other_names_are_left_alone(temporary: Path) -> None:
    process, young = _holding(temporary, 0)
    _kill(process)
    other = temporary / "rdspend-other-1"
    other.mkdir()
    link = temporary / "rdspend-focus-link"
    link.symlink_to(other)
    for folder in (other, link):
        os.utime(folder, (0, 0), follow_symlinks=False)
    with scratch("focus"):
        assert young.exists() and other.exists() and link.is_symlink()

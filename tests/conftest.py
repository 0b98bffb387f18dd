"""Fixtures every test may use."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session", autouse=True)
def nothing_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Models that a developer has pulled and runs that were measured must not change what a test sees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUB_MODELS", str(tmp_path_factory.mktemp("no models")))
        patch.setenv("DUB_HISTORY", str(tmp_path_factory.mktemp("history") / "history.jsonl"))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of third-party clips and reference outputs; skips where it is absent."""
    if not (SHARED / "media" / "reel.mp4").exists():
        pytest.skip("needs ../shared (third-party test media), which is not on this machine")
    return SHARED


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of a real S3 endpoint on loopback."""
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


_bucket = itertools.count(1)


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """An empty bucket, `s3://films-1`, with the environment that reaches it, and a scratch folder of its own."""
    import boto3

    from dubbing.remote import forget_connections

    for name, value in {
        "AWS_ENDPOINT_URL": s3_endpoint, "AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "not a secret",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        "DUB_SCRATCH": str(tmp_path / "scratch"), "NO_PROXY": "127.0.0.1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    bucket = f"films-{next(_bucket)}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    forget_connections()
    yield f"s3://{bucket}"
    forget_connections()

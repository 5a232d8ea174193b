"""Fixtures of tests about downloads: a client, and an upstream that misbehaves as it is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from download_client import Client
from entrepot_sdk.testing import Upstream


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A client that may ask this machine."""
    with Client(tmp_path) as client:
        yield client


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """An upstream without paths."""
    with Upstream() as upstream:
        yield upstream

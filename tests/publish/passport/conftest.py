"""Every test has a workspace and a user's folder of its own."""

from pathlib import Path

import pytest

from publish.passport.stamping import Issuer, open_issuer
from stages.contracts.publish_settings import Publish


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("PISTACHIO_SIGNING_KEY", raising=False)
    folder = tmp_path / "workspace"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def issuer() -> Issuer:
    return open_issuer(Publish())

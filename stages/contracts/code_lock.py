"""code.lock: which code a workspace runs, stage by stage, so that DVC notices when it is another."""

from pathlib import Path

import yaml
from pydantic import Field

from stages.contracts.paths import CODE_LOCK
from stages.contracts.settings import Section, parse, read_yaml
from stages.runtime.files import write_text

REMARK = "# Which code this workspace runs, written by `pistachio init` and `pistachio upgrade`.\n"


class CodeLock(Section):
    """The code of one moment; ``stages`` alone decides what runs again."""

    version: str
    commit: str | None = Field(None, description="of the code's repository; -dirty when it had changes beside it")
    stages: dict[str, str] = Field(description="stage -> sha256 of its part of dvc.yaml and of the code it depends on")

    @property
    def label(self) -> str:
        """The code's version for a person."""
        commit, _, dirty = (self.commit or "").partition("-")
        return self.version + (f", commit {commit[:12]}" if commit else "") + (" with changes" if dirty else "")


def read_code_lock(path: Path = CODE_LOCK) -> CodeLock:
    """Read code.lock.

    Raises:
        UserError: when it is missing or does not follow the schema.
    """
    return parse(CodeLock, read_yaml(path), path)


def write_code_lock(lock: CodeLock, path: Path = CODE_LOCK) -> None:
    """Write code.lock."""
    write_text(path, REMARK + yaml.safe_dump(lock.model_dump(), sort_keys=False))

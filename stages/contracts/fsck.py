"""What `pistachio fsck` found: printed with --json, and kept as .dvc/tmp/fsck/report.json."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["missing", "truncated", "damaged", "unreadable"]


class Problem(BaseModel):
    """An object that is not as its name says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    oid: str = Field(description="the object's name: its md5, with .dir where it lists a folder")
    where: str = Field(description="cache, or the remote's name")
    kind: Kind
    what: str = Field(description="the file that it is, and the first version that names it; empty when none does")
    size: int | None = Field(description="bytes that are there")
    expected: int | None = Field(description="bytes that there should be, where that is known")
    repaired: bool = False
    done: str = Field("", description="what became of it")


class Fsck(BaseModel):
    """One run over the cache and a remote."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stores: list[str] = Field(description="what was read: cache, and the remote's name")
    versions: int = Field(description="commits that were asked what they name")
    named: int = Field(description="objects that they name")
    objects: int = Field(description="objects that were hashed")
    resumed: int = Field(description="of these, by a run before this one that was interrupted")
    bytes: int = Field(description="of these objects")
    seconds: float
    elsewhere: int = Field(description="objects of versions other than HEAD that only the remote holds")
    warnings: list[str] = Field(description="what could not be found out")
    problems: list[Problem]

    @property
    def left(self) -> list[Problem]:
        """The problems that are still there."""
        return [problem for problem in self.problems if not problem.repaired]

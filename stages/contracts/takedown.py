"""What was made under a subject card, piece by piece, and what to do with each piece when the card is revoked."""

from typing import Literal

from pydantic import Field

from stages.contracts.artifact import Closed

Kind = Literal["photos", "LoRA", "version", "measuring", "batch", "published"]
TODO: dict[Kind, str] = {
    "photos": "delete them, and what DVC keeps of them: `dvc gc -w -c`, the remote, backups",
    "LoRA": "delete the file, and its copies in ComfyUI's models/loras, in DVC's cache and remote, with whoever got it",
    "version": "delete the folder with its pictures; git keeps older commits: rewrite those, or keep it private",
    "measuring": "delete the folder: pictures that sweep and eval drew",
    "batch": "delete the picture and the record beside it, rejected ones too",
    "published": "take it down where it was published; `pistachio trace` knows copies of it",
}


class Made(Closed):
    """One piece."""

    kind: Kind
    path: str = Field(description="relative to the workspace, where it lies inside")
    note: str = Field("", description="what it is, in a word: a hash, a count")
    there: bool = Field(True, description="whether it lies there now")

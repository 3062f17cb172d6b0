"""What every section of params.yaml is made of: closed, frozen models and the ranges that they share."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Use = Literal["non-commercial", "commercial"]
Sampler = Literal["euler", "euler_a", "dpmpp_2m", "dpmpp_2m_karras", "ddim", "unipc"]


def _a_door(name: str) -> str:
    if name.count(":") != 1:
        raise ValueError("not a known backend; a class of your own is written module:Class")
    return name


Door = Annotated[str, AfterValidator(_a_door)]
"""``module:Class``: the one door for a backend of the user's own."""


def _an_address(address: str) -> str:
    address = address.rstrip("/")
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("not an address such as http://127.0.0.1:8188")
    return address


Url = Annotated[str, AfterValidator(_an_address)]
"""The address of a server, without a slash at its end."""


def _a_word(word: str) -> str:
    if not word or word != " ".join(word.split()):
        raise ValueError("empty, or blanks around it or doubled: no caption could name it")
    return word


Word = Annotated[str, AfterValidator(_a_word)]
"""What a caption can name: captions are written on one line with single blanks."""


class Section(BaseModel):
    """A section of params.yaml: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

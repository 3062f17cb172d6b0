"""The section ``publish``: what a published picture tells, and who signs it.  Read by no stage of the pipeline."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from stages.contracts.section import Fraction, Section, Url

Reveal = Literal["minimal", "full"]


class Publish(Section):
    """What a published picture tells about itself, and who signs that."""

    reveal: Reveal = Field(
        "minimal", description="what stands in a published picture; full: prompt, seed and the LoRA's name too"
    )
    certificate: Path | None = Field(
        None, description="PEM file, your certificate first, then who issued it; null: made here, nobody vouches for it"
    )
    key: Path | None = Field(
        None, description="PEM file of its private key; the environment variable PISTACHIO_SIGNING_KEY wins"
    )
    timestamp_url: Url | None = Field(
        None, description="time-stamp authority (RFC 3161) that is asked at each signature; null: none, works offline"
    )
    trace: Fraction = Field(
        0.97, description="correlation of details from which on `pistachio trace` claims a copy by its looks"
    )
    trust: Path | None = Field(
        None, description="PEM file of the authorities that `pistachio inspect` believes; null: it believes nobody"
    )

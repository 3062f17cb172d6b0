"""The ``serve`` section: where `pistachio serve` listens and how much it lets anybody ask for."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from stages.contracts.section import Count, Positive, Section


class Serve(Section):
    """Pictures over HTTP.  Read by no stage: nothing is drawn again when it changes."""

    host: str = Field("127.0.0.1", description="address to listen on; elsewhere only behind a proxy that speaks TLS")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8765, description="0: any free one")
    output: Path = Field(Path("data/served"), description="folder of jobs and pictures; nothing else can be reached")
    keys: Path | None = Field(
        None, description="file of the keys' hashes; null: pistachio/serve_keys.json in the user's configuration folder"
    )
    count_max: Count = Field(8, description="pictures that one job may ask for")
    draws_per_picture: Count = Field(4, description="seeds that are tried for each picture, those rejected included")
    prompt_chars: Count = Field(1000, description="longest prompt, and longest negative prompt")
    body_bytes: Count = Field(16384, description="largest body of a request")
    queue: Count = Field(256, description="jobs that wait, of all keys")
    queue_per_key: Count = Field(32, description="jobs of one key that wait")
    requests_per_minute: Positive = Field(600, description="of one key, in the long run")
    requests_burst: Count = Field(100, description="of one key, at once")
    pictures_per_minute: Positive = Field(60, description="that one key may ask for, in the long run")
    pictures_burst: Count = Field(32, description="that one key may ask for at once")
    connections: Count = Field(1000, description="open at the same time; more are answered 503")
    header_seconds: Positive = Field(10, description="until a request's line and headers are there")
    request_seconds: Positive = Field(30, description="until a request is answered whole")
    draw_seconds: Positive = Field(600, description="of one picture, after which its worker is killed")
    start_seconds: Positive = Field(600, description="in which a worker has loaded its models")
    stop_seconds: Positive = Field(30, description="that a worker has to finish its picture when the server ends")
    attempts: Count = Field(3, description="workers that may die over one picture before its job fails")
    nice: Annotated[int, Field(ge=0, le=19)] = Field(15, description="of the worker: answers come before pictures")

    @model_validator(mode="after")
    def _fits(self) -> "Serve":
        if self.pictures_burst < self.count_max:
            raise ValueError("pictures_burst is below count_max: the largest job could never be asked for")
        return self

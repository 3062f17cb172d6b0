"""What every generate backend promises: diffusers, ComfyUI's double and, if there is one, a real ComfyUI.

A real server is tried when PISTACHIO_COMFYUI_URL names one; PISTACHIO_COMFYUI_BASE is then a base folder in diffusers'
layout whose single file the server has under the folder's name, PISTACHIO_COMFYUI_LORA a LoRA for it.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from comfyui_worlds import hurry, open_server, request, settings, write_stand_in_lora

from stages.backends.generate import open_generator
from stages.contracts.generation import Generator, ImageRequest
from stages.contracts.lora import write_lora
from stages.contracts.settings import Machine
from stages.runtime.errors import UserError

REAL = os.environ.get("PISTACHIO_COMFYUI_URL", "")


@dataclass(frozen=True)
class World:
    """A backend with a base and a LoRA that does something."""

    open: Callable[[], Generator]
    first: ImageRequest
    lora: Path

    def draw(self, *requests: ImageRequest) -> list[np.ndarray]:
        return list(self.open().generate(requests))


@pytest.fixture(params=["diffusers", "double", pytest.param("real", marks=pytest.mark.slow)])
def world(
    request_kind: str, tiny_base: Path, trained_lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    hurry(monkeypatch)
    match request_kind:
        case "diffusers":
            yield World(lambda: open_generator("diffusers", Machine(threads=1), 2), request(tiny_base), trained_lora)
        case "double":
            with open_server(tmp_path / "server") as double:
                machine = Machine(comfyui_urls=(double.url,), state_dir=tmp_path / "state")
                lora = write_stand_in_lora(tmp_path / "amira.safetensors")
                yield World(
                    lambda: open_generator("comfyui", machine, 1, settings(tiny_base)), request(tiny_base), lora
                )
        case _:
            if not REAL:
                pytest.skip("no PISTACHIO_COMFYUI_URL")
            base, lora = Path(os.environ["PISTACHIO_COMFYUI_BASE"]), Path(os.environ["PISTACHIO_COMFYUI_LORA"])
            machine = Machine(comfyui_urls=(REAL,), state_dir=tmp_path / "state")
            comfyui = settings(base, checkpoints={})
            yield World(lambda: open_generator("comfyui", machine, 1, comfyui), request(base, sampler="euler"), lora)


@pytest.fixture
def request_kind(request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.params["world"])


def same(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> list[bool]:
    return [np.array_equal(one, other) for one, other in zip(a, b, strict=True)]


def test_the_same_request_is_the_same_picture_and_another_seed_or_prompt_is_not(world: World) -> None:
    first = world.first
    pictures = world.draw(first, replace(first, seed=2), replace(first, prompt="amira, a woman, smiling"))
    assert same(world.draw(first), pictures[:1]) == [True]
    assert len({picture.tobytes() for picture in pictures}) == 3


def test_sizes_are_honoured(world: World) -> None:
    (picture,) = world.draw(replace(world.first, width=128, height=64))
    assert picture.shape == (64, 128, 3)
    assert picture.dtype == np.uint8


def test_a_lora_changes_pictures_unless_its_strength_is_zero(world: World) -> None:
    strong = replace(world.first, lora=world.lora)
    bare, zero, half, full = world.draw(
        world.first, replace(strong, strength=0.0), replace(strong, strength=0.5), strong
    )
    assert np.array_equal(bare, zero)
    assert not np.array_equal(bare, half)
    assert not np.array_equal(half, full)


def test_pictures_do_not_depend_on_their_grouping(world: World) -> None:
    mixed = [
        replace(world.first, seed=seed, lora=lora, guidance=guidance)
        for seed in (1, 2)
        for lora in (None, world.lora)
        for guidance in (2.0, 4.0)
    ]
    together = world.draw(*mixed)
    assert all(same(world.draw(*mixed[::-1])[::-1], together))
    assert all(same(world.draw(*mixed[3:5]), together[3:5]))
    assert len({picture.tobytes() for picture in together}) == len(mixed)


def test_a_file_that_was_overwritten_is_another_lora(world: World, tmp_path: Path) -> None:
    path = tmp_path / "same_name.safetensors"
    path.write_bytes(world.lora.read_bytes())
    (before,) = world.draw(replace(world.first, lora=path))
    from safetensors.numpy import load_file

    from stages.contracts.lora import read_header

    tensors = {name: tensor * 2 for name, tensor in load_file(world.lora).items()}
    write_lora(path, tensors, {"ss_steps": str(read_header(world.lora).step or 1)})
    (after,) = world.draw(replace(world.first, lora=path))
    assert not np.array_equal(before, after)


def test_nothing_is_asked_for_and_nothing_is_drawn(world: World) -> None:
    assert world.draw() == []


def test_what_is_missing_is_said_before_anything_is_drawn(world: World, tmp_path: Path) -> None:
    for changes in ({"lora": tmp_path / "no.safetensors"}, {"base": tmp_path / "no"}):
        with pytest.raises(UserError, match="no"):
            world.open().generate([replace(world.first, **changes)])  # type: ignore[arg-type]


def test_identity_says_what_else_decides_pictures(world: World) -> None:
    assert world.open().identity == world.open().identity

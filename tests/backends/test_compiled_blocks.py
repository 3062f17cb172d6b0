"""Compiled blocks train and tell as plain ones do, whatever shapes come (dynamo alone; the slow test: with kernels)."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stages.backends.generate.diffusers import DiffusersGenerator
from stages.backends.sdxl import compile_blocks
from stages.backends.train.run import Run
from stages.contracts.settings import Machine
from stages.contracts.train_settings import Train
from stages.contracts.training import Examples
from stages.runtime.errors import UserError


def open_run(base: Path, examples: Examples, *, compiled: bool) -> Run:
    values = {
        "version": "t", "base": base, "resolution": 64, "rank": 2, "steps": 2, "batch": 3, "prior_batch": 0,
        "checkpoint_every": 2, "holdout_every": 1, "precision": "float32",
    }  # fmt: skip
    run = Run(Train.model_validate(values), Machine(threads=1), replace(examples, holdout=examples.holdout[:1]))
    if compiled:
        compile_blocks(run.model.unet, backend="eager")
    return run


def test_compiled_blocks_train_and_measure_as_blocks_that_are_not(tiny_base: Path, examples: Examples) -> None:
    try:
        plain, compiled = ([run.advance(1), run.advance(2)] for run in (
            open_run(tiny_base, examples, compiled=compiled) for compiled in (False, True)))  # fmt: skip
    finally:
        torch._dynamo.reset()
    for one, other in zip(plain, compiled, strict=True):
        assert (one.loss, one.holdout_loss) == (pytest.approx(other.loss), pytest.approx(other.holdout_loss))


def test_only_the_repeated_blocks_are_compiled_and_a_lora_keeps_its_names(tiny_base: Path, examples: Examples) -> None:
    plain, compiled = (open_run(tiny_base, examples, compiled=compiled) for compiled in (False, True))
    assert compiled.checkpoint(0).tensors.keys() == plain.checkpoint(0).tensors.keys()
    kinds = {type(m).__name__ for m in compiled.model.unet.modules() if m._compiled_call_impl is not None}
    assert kinds == {"BasicTransformerBlock"}


@pytest.mark.slow
def test_on_a_cpu_kernels_train_as_no_kernels_do(tiny_base: Path, examples: Examples) -> None:
    values = {
        "version": "t", "base": tiny_base, "resolution": 64, "rank": 2, "steps": 3, "batch": 2, "prior_batch": 0,
        "checkpoint_every": 3, "holdout_every": 3, "precision": "float32",
    }  # fmt: skip
    told = []
    try:
        for machine in (Machine(threads=1), Machine(threads=1, compile=True)):
            run = Run(Train.model_validate(values), machine, replace(examples, holdout=()))
            told.append([run.advance(number).loss for number in (1, 2, 3)])
    finally:
        torch._dynamo.reset()
    assert told[1] == pytest.approx(told[0], rel=1e-4)


def test_without_a_compiler_one_line_says_so(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    with pytest.raises(UserError, match=r"machine\.compile: there is no C\+\+ compiler"):
        DiffusersGenerator(Machine(threads=1, compile=True), 2).open_base(tiny_base)

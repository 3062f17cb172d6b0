"""The proof tells an exact resume from one that is not, and leaves the workspace alone."""

from pathlib import Path

import pytest

from stages.flows.proof import Proof, prove_resume
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_path


def test_a_proof_needs_equal_bytes_and_a_resume() -> None:
    same = {"a": "1"}
    assert Proof(4, (2,), (2,), same, same).holds
    assert not Proof(4, (2,), (2,), same, {"a": "2"}).holds
    assert not Proof(4, (2,), (), same, same).holds


def test_without_a_manifest_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dvc repro manifest"):
        prove_resume(4, 1, workspace=tmp_path)


@pytest.mark.slow
def test_resume_is_exact_here_and_the_workspace_stays_as_it_was(tiny_training: Path) -> None:
    before = hash_path(tiny_training)
    proof = prove_resume(6, 2, workspace=tiny_training)
    assert proof.holds, proof
    assert hash_path(tiny_training) == before

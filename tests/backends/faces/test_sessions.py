"""How networks are opened for the machine."""

import onnxruntime
import pytest

from stages.backends.faces.sessions import batches, providers, session_options
from stages.contracts.settings import Machine

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.mark.parametrize(
    ("device", "here", "found"),
    [
        ("cpu", [CUDA, CPU], [CPU]), ("cuda", [CPU], [CPU]), ("cuda", [CUDA, CPU], [(CUDA, {"device_id": "0"}), CPU]),
        ("cuda:3", [CUDA, CPU], [(CUDA, {"device_id": "3"}), CPU]),
    ],
)  # fmt: skip
def test_a_network_runs_on_the_device_that_is_named_where_it_can(
    monkeypatch: pytest.MonkeyPatch, device: str, here: list[str], found: list[object]
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: here)
    assert providers(Machine(device=device)) == found


def test_a_network_has_the_machine_s_threads() -> None:
    options = session_options(Machine(threads=3))
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)


def test_every_item_is_in_one_run() -> None:
    assert [list(run) for run in batches(5, 2)] == [[0, 1], [2, 3], [4]]
    assert batches(0, 2) == []

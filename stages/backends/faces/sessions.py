"""onnxruntime sessions whose numbers do not depend on how busy the machine is."""

from typing import Any

import onnxruntime

from stages.contracts.settings import Machine


def session_options(machine: Machine, threads: int | None = None) -> onnxruntime.SessionOptions:
    """Quiet options with ``machine.threads`` threads for each run of the network, or as many as is said."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or machine.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


def providers(machine: Machine) -> list[Any]:
    """Execution providers for ``machine.device``; the processor where onnxruntime was built without that device."""
    kind, _, number = machine.device.partition(":")
    cuda = "CUDAExecutionProvider"
    here = kind == "cuda" and cuda in onnxruntime.get_available_providers()
    return ([(cuda, {"device_id": number or "0"})] if here else []) + ["CPUExecutionProvider"]


def batches(count: int, size: int) -> list[range]:
    """``count`` items in runs of at most ``size``."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]

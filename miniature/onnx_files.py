"""Write small ONNX files: half-precision storage, single-precision arithmetic."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn


def store_half(model: onnx.ModelProto, at_least: int = 64) -> onnx.ModelProto:
    """Keep weights of ``at_least`` numbers as float16, each behind a Cast to float32.

    onnxruntime folds the casts while it loads, so speed and arithmetic are those of a float32 file whose weights were
    rounded to eleven significant bits once.
    """
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < at_least:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], name=f"Cast.{name}", to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)
    return model


def write_onnx(
    model: nn.Module, example: torch.Tensor, path: Path, outputs: list[str], dynamic: dict[str, dict[int, str]],
    notes: dict[str, str] | None = None,
) -> None:  # fmt: skip
    """Trace ``model`` (input "input") into one self-contained ONNX file; ``notes`` become its metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    model = model.float().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (example,), str(path), dynamo=False, opset_version=17, input_names=["input"],
            output_names=outputs, dynamic_axes=dynamic,
        )  # fmt: skip
    stored = store_half(onnx.load(str(path)))
    helper.set_model_props(stored, notes or {})
    onnx.checker.check_model(stored)
    onnx.save(stored, str(path))


def one_thread() -> onnxruntime.SessionOptions:
    """Session options of the measurements: one thread, so that times and numbers do not depend on the machine."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options

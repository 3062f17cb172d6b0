"""The stand-in for kohya's sd-scripts, put into a folder of its own for one base model."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from stages.backends.sdxl import open_skeleton
from stages.backends.train.adapters import target_layers
from stages.contracts.lora_names import kohya_names
from stages.contracts.settings import Kohya, Machine

HERE = Path(__file__).parent


def lora_modules(base: Path) -> dict[str, list[int]]:
    """The linear layers that sd-scripts trains by default: name in a LoRA file -> values in, values out."""
    found = {}
    for component, model in open_skeleton(base).items():
        endings = tuple(target_layers(component, "transformer"))
        names = kohya_names(component, [name for name, _ in model.named_modules()])
        for module, part in model.named_modules():
            if module.endswith(endings) and hasattr(part, "in_features"):
                found[names[module]] = [part.in_features, part.out_features]
    return found


def put_standin(folder: Path, base: Path, misbehave: str = "", **asked: Any) -> Machine:
    """Put it into ``folder``; the machine section that names it."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "kohya" / "sdxl_train_network.py", folder)
    shutil.copy(HERE / "data" / "kohya_options.json", folder)
    (folder / "standin.json").write_text(json.dumps({"modules": lora_modules(base), "misbehave": misbehave, **asked}))
    kohya = Kohya(folder=folder, python=Path(sys.executable))
    return Machine(threads=1, state_dir=folder / "state", kohya=kohya)

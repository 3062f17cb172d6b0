"""What is printed and shown of ComfyUI servers, and of the same pictures drawn by two backends."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.contracts.samplers import SAMPLINGS
from stages.reports.montage import montage
from stages.reports.terminal import print_table

SPACINGS = ("leading", "trailing", "linspace")  # timestep_spacing of a base; SDXL 1.0 says leading
LOUDER = 8  # what differences are multiplied by, to be seen


def print_findings(findings: Sequence[Mapping[str, Any]]) -> None:
    """PASS or FAIL, one line each."""
    rows = [("PASS" if f["ok"] else "FAIL", f["what"], f["detail"], f["server"]) for f in findings]
    print_table("ComfyUI", ("", "what", "", "server"), rows)


def print_nodes(nodes: Sequence[Mapping[str, Any]]) -> None:
    """Name, commit and address of each custom node."""
    rows = [(n["name"], n["commit"][:12] or "unknown", "yes" if n["changed"] else "", n["address"]) for n in nodes]
    print_table("Custom nodes", ("name", "commit", "changed", "from"), rows)


def print_parity(trials: Sequence[Mapping[str, Any]], verdict: str, picture: Path) -> None:
    """How far apart under every trial, and the likely cause."""
    rows = [(str(t["name"]), f"{t['mean']:.2f}", f"{t['largest']:.0f}") for t in trials]
    print_table("ComfyUI against diffusers, levels of 255", ("diffusers", "mean", "largest"), rows)
    print(verdict)
    print(f"side by side: {picture}")


def render_samplers() -> str:
    """What every sampler is in ComfyUI, and where it is not the same: a table in Markdown."""
    lines = ["| sampler | base's spacing | KSampler | not the same because |", "|---|---|---|---|"]
    for name, sampling in SAMPLINGS.items():
        for spacing in SPACINGS:
            found = sampling.counterparts.get(spacing)
            if found is None:
                lines.append(f"| `{name}` | {spacing} | refused | nothing comes near |")
            else:
                unlike = "; ".join(filter(None, [found.unlike, found.uneven])) or "it is the same"
                lines.append(f"| `{name}` | {spacing} | `{sampling.comfyui}`, `{found.scheduler}` | {unlike} |")
    return "\n".join(lines)


def show_parity(comfyui: Sequence[np.ndarray], diffusers: Sequence[np.ndarray]) -> np.ndarray:
    """Three rows: ComfyUI's pictures, diffusers', and their difference made louder; uint8 (H, W, 3)."""
    apart = [
        np.clip(np.abs(a.astype(int) - b) * LOUDER, 0, 255).astype(np.uint8)
        for a, b in zip(comfyui, diffusers, strict=True)
    ]
    return montage([comfyui, diffusers, apart], ["ComfyUI", "diffusers", f"difference, times {LOUDER}"])

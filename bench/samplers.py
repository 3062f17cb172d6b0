"""Draw with every sampler in ComfyUI and in diffusers, and see how far the pictures are apart.

    python -m bench.samplers --comfyui COMFYUI --python COMFYUI_VENV/bin/python --models FOLDER --work EMPTY_FOLDER

FOLDER has what `bench.random_sdxl` wrote.  Same random SDXL, LoRA, prompt and seed, float32, 64 px; figures go to
bench/results/samplers.json.  ComfyUI cuts a picture's values down where diffusers rounds: one level is no difference.
"""

from dataclasses import replace
from pathlib import Path

from bench.comfyui_process import ComfyProcess, describe, link_checkpoint, open_comfyui
from bench.differences import difference
from bench.random_lora import write_random_lora
from bench.random_sdxl import NOISE
from bench.results_file import append_result
from stages.backends.generate import open_generator
from stages.contracts.generation import ImageRequest
from stages.contracts.samplers import SAMPLINGS, find_counterpart
from stages.contracts.settings import ComfyUI, Machine
from stages.runtime.files import write_json

RESULT = Path(__file__).parent / "results" / "samplers.json"
STEPS = (10, 12)  # one that divides 1000, one that does not


def link_base(base: Path, spacing: str, folder: Path) -> Path:
    """The base in a folder of its own, under another timestep_spacing."""
    place = folder / f"{base.name}_{spacing}"
    place.mkdir()
    for part in base.iterdir():
        if part.name != "scheduler":
            (place / part.name).symlink_to(part.resolve())
    write_json(place / "scheduler" / "scheduler_config.json", NOISE | {"timestep_spacing": spacing})
    return place


def requests(base: Path, lora: Path, folder: Path) -> dict[tuple[str, str, int], ImageRequest]:
    """One request per sampler, spacing and number of steps."""
    first = ImageRequest(
        "a photo of sks woman, red hat", 1, base, lora, strength=0.8, guidance=4.0, width=64, height=64,
        negative_prompt="blurry",
    )  # fmt: skip
    bases = {spacing: link_base(base, spacing, folder) for spacing in ("leading", "trailing", "linspace")}
    return {
        (name, spacing, steps): replace(first, sampler=name, base=bases[spacing], steps=steps)
        for spacing in bases
        for steps in STEPS
        for name, sampling in SAMPLINGS.items()
        if spacing in sampling.counterparts and (name != "dpmpp_2m_karras" or spacing == "leading")
    }


def measure(server: ComfyProcess, wanted: dict[tuple[str, str, int], ImageRequest]) -> None:
    """Record mean and maximum difference of each pair of pictures, levels of 255."""
    settings = ComfyUI(checkpoints={request.base.as_posix(): "base.safetensors" for request in wanted.values()})
    machine = Machine(
        comfyui_urls=(server.url,), comfyui_loras=server.folder / "models" / "loras", comfyui_patience=600.0,
        state_dir=server.folder / "state",
    )  # fmt: skip
    theirs = list(open_generator("comfyui", machine, 1, settings).generate(list(wanted.values())))
    peer = describe(server)
    server.end()  # two of these models at once need 16 GiB
    ours = list(open_generator("diffusers", Machine(threads=2), 1, settings).generate(list(wanted.values())))
    rows = []
    for (name, spacing, steps), a, b in zip(wanted, theirs, ours, strict=True):
        mean, most = difference(a, b)
        said = find_counterpart(name, spacing).difference(steps)
        rows.append({"sampler": name, "spacing": spacing, "steps": steps, "mean": mean, "max": most, "unlike": said})
    append_result(RESULT, "python -m bench.samplers", {"ComfyUI": peer}, {"pairs": rows})


def main() -> None:
    """Read the command line."""
    server, base = open_comfyui(__doc__, 8196)
    link_checkpoint(server, base.with_suffix(".safetensors"), "base.safetensors")
    lora = server.folder / "random.safetensors"
    write_random_lora(lora, 1)
    try:
        server.start()
        measure(server, requests(base, lora, server.folder))
        print(RESULT.read_text(encoding="utf-8"))
    finally:
        server.end()


if __name__ == "__main__":
    main()

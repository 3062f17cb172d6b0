"""The folders of a ComfyUI: models by kind, input, output, temp, user.  What lies in them is what the lists show."""

from pathlib import Path

KINDS = (
    "checkpoints", "configs", "loras", "vae", "text_encoders", "diffusion_models", "clip_vision", "style_models",
    "embeddings", "diffusers", "vae_approx", "controlnet", "gligen", "upscale_models", "custom_nodes", "hypernetworks",
    "photomaker", "classifiers", "model_patches", "audio_encoders",
)  # fmt: skip
CUSTOM_KINDS = ("instantid", "ipadapter", "insightface")  # what the custom nodes add
ALSO = {"text_encoders": ["clip"], "controlnet": ["t2i_adapter"]}
FIRST = {"diffusion_models": ["unet"]}
IN_OUTPUT = {"checkpoints": "checkpoints", "loras": "loras", "vae": "vae", "text_encoders": "clip",
             "diffusion_models": "diffusion_models"}  # fmt: skip
WEIGHTS = {".ckpt", ".pt", ".pt2", ".bin", ".pth", ".safetensors", ".pkl", ".sft"}
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"}
INPUTS = {
    "ckpt_name": "checkpoints", "lora_name": "loras", "control_net_name": "controlnet", "clip_name": "clip_vision",
    "instantid_file": "instantid", "ipadapter_file": "ipadapter",
}  # fmt: skip


class Folders:
    """Paths under ``root``, made on the way."""

    def __init__(self, root: Path, kinds: tuple[str, ...]) -> None:
        self.root, self.kinds = root.resolve(), kinds
        self.input, self.output, self.temp = (self.root / name for name in ("input", "output", "temp"))
        self.user = self.root / "user" / "default"
        for path in (self.input, self.output, self.temp, self.user, *(self.paths(kind)[0] for kind in kinds)):
            path.mkdir(parents=True, exist_ok=True)

    def of_type(self, name: str) -> Path | None:
        """input, output, temp."""
        return {"input": self.input, "output": self.output, "temp": self.temp}.get(name)

    def paths(self, kind: str) -> list[Path]:
        """Where files of a kind are looked for."""
        if kind == "custom_nodes":
            return [self.root / kind]
        models = [self.root / "models" / name for name in (*FIRST.get(kind, []), kind, *ALSO.get(kind, []))]
        return models + ([self.output / IN_OUTPUT[kind]] if kind in IN_OUTPUT else [])

    def names(self, kind: str) -> list[str]:
        """The files of a kind, by their names below its folders."""
        found = set()
        for folder in self.paths(kind):
            files = (path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in WEIGHTS)
            found |= {path.relative_to(folder).as_posix() for path in files}
        return sorted(found)

    def find(self, kind: str, name: str) -> Path | None:
        """The file of that name; None: there is none, or the name leads outside."""
        if kind not in self.kinds or ".." in Path(name).parts or Path(name).is_absolute():
            return None
        return next((folder / name for folder in self.paths(kind) if (folder / name).is_file()), None)

    def find_input(self, name: str) -> Path:
        """What LoadImage opens: below input, or where ``name [output]`` says."""
        for kind in ("output", "input", "temp"):
            if name.endswith(f"[{kind}]"):
                return self.root / kind / name.removesuffix(f"[{kind}]").strip()
        return self.input / name

    def options(self, name: str, recorded: list[str]) -> list[str]:
        """What a combo offers: files where it names files, else what was recorded."""
        if name == "image":
            return sorted(path.name for path in self.input.iterdir() if path.suffix.lower() in PICTURES)
        if name == "vae_name":
            return [*self.names("vae"), "pixel_space"]
        return self.names(INPUTS[name]) if name in INPUTS else recorded

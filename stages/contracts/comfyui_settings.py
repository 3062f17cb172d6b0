"""The ``comfyui`` section: what ComfyUI draws with.  Read by backend comfyui alone."""

from pathlib import Path

from pydantic import Field, field_validator

from stages.contracts.section import Section
from stages.contracts.sweep_settings import MODES

FOLDER = Path("conf/workflows")
PLAIN = "plain"  # the workflow without a LoRA: the base model alone
DEFAULTS = {
    PLAIN: FOLDER / "text_to_image.json", "lora": FOLDER / "lora.json",
    "lora+instantid": FOLDER / "lora_instantid.json", "lora+ipadapter": FOLDER / "lora_ipadapter_faceid.json",
}  # fmt: skip


class ComfyUI(Section):
    """How pictures are drawn by ComfyUI; where its servers are stands in ``machine``."""

    checkpoints: dict[str, str] = Field(
        default_factory=dict,
        description="base folder -> the same model's file in models/checkpoints; default: the folder's name",
    )
    workflows: dict[str, Path] = Field(
        default_factory=lambda: dict(DEFAULTS), description="mode (or plain: no LoRA) -> graph in API format"
    )
    reference: Path | None = Field(
        None,
        description="photo that InstantID and IPAdapter see; null: the training photo with the largest frontal face",
    )

    @field_validator("workflows")
    @classmethod
    def _known(cls, workflows: dict[str, Path]) -> dict[str, Path]:
        unknown = sorted(set(workflows) - {PLAIN, *MODES})
        if unknown:
            raise ValueError(f"no mode {', '.join(unknown)}; known: {PLAIN}, {', '.join(MODES)}")
        return DEFAULTS | workflows

    def checkpoint(self, base: Path) -> str:
        """The name of ``base`` in ComfyUI's models/checkpoints."""
        return self.checkpoints.get(base.as_posix(), f"{base.name}.safetensors")

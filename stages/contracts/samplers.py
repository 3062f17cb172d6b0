"""placeholder, replaced by the measured table"""

from stages.runtime.errors import UserError

NAMES = {
    "euler": "euler",
    "euler_a": "euler_ancestral",
    "dpmpp_2m": "dpmpp_2m",
    "dpmpp_2m_karras": "dpmpp_2m",
    "ddim": "ddim",
    "unipc": "uni_pc_bh2",
}
SPACINGS = {"leading": "ddim_uniform", "trailing": "simple", "linspace": "normal"}


def comfyui_sampler(sampler: str, spacing: str) -> tuple[str, str]:
    if sampler not in NAMES or spacing not in SPACINGS:
        raise UserError("sampler", f"{sampler} with spacing {spacing} has no equivalent in ComfyUI")
    return NAMES[sampler], "karras" if sampler.endswith("karras") else SPACINGS[spacing]

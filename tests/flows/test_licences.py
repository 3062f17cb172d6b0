"""Licences of everything that takes part in a picture, and whether they allow the declared use."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from stages.contracts.settings import ComfyUI, Judges, Promotion
from stages.flows.licences import licences_of, require_licences
from stages.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
JUDGES, PROMOTION = Judges.model_validate(PARAMS["judges"]), Promotion.model_validate(PARAMS["promotion"])
SDXL = Path("models/base/stable-diffusion-xl-base-1.0")


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "conf", "conf")


def conditioning(mode: str, backend: str = "comfyui", **workflows: Path) -> dict[str, str]:
    comfyui = ComfyUI(workflows={name.replace("_", "+"): path for name, path in workflows.items()})
    found = licences_of(SDXL, mode, backend, JUDGES, comfyui, PROMOTION)
    return {who.removeprefix("conditioning "): text for who, text in found.items() if who.startswith("conditioning")}


def test_a_plain_lora_has_the_base_s_and_the_judges_licences() -> None:
    found = licences_of(SDXL, "lora", "comfyui", JUDGES, ComfyUI(), PROMOTION)
    assert set(found) == {"base", "faces", "second", "text_image"}
    assert found["base"] == "CreativeML Open RAIL++-M"


def test_instantid_is_free_and_its_face_analysis_is_not() -> None:
    found = conditioning("lora+instantid")
    assert found["ip-adapter.bin"] == found["instantid/diffusion_pytorch_model.safetensors"] == "Apache-2.0"
    assert "non-commercial" in found["InstantIDFaceAnalysis"]
    assert len(found) == 3
    assert conditioning("lora+instantid", "diffusers") == {}


def test_ipadapter_names_its_adapter_lora_vision_model_and_face_pack() -> None:
    found = conditioning("lora+ipadapter")
    assert sum("non-commercial" in text for text in found.values()) == 3
    assert found["CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors"] == "MIT"
    assert len(found) == 4


def test_a_model_that_no_setting_knows_counts_as_forbidding() -> None:
    graph = json.loads(Path("conf/workflows/lora_instantid.json").read_text())
    graph["11"]["inputs"]["instantid_file"] = "mine.safetensors"
    Path("own.json").write_text(json.dumps(graph))
    found = conditioning("lora+instantid", lora_instantid=Path("own.json"))
    assert found["mine.safetensors"] == "unknown"
    with pytest.raises(UserError, match=r"promotion\.use is commercial, which is not allowed by x: unknown"):
        require_licences({"x": found["mine.safetensors"]}, "commercial")
    require_licences({"x": "unknown"}, "non-commercial")


def test_the_classifier_s_licence_stands_beside_the_judges() -> None:
    folder = Path("models/judges/stable-diffusion-safety-checker")
    found = licences_of(SDXL, "lora", "diffusers", JUDGES, ComfyUI(), PROMOTION, folder)
    assert found["safety"] == "CreativeML Open RAIL-M"

"""The safety classifier: diffusers' own class with small random weights, read from a folder as the real one is."""

from pathlib import Path

import numpy as np
import pytest

from stages.backends.safety import open_safety_judge
from stages.contracts.policy import Policy
from stages.contracts.settings import Machine
from stages.runtime.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checker of 16 dimensions whose limits lie where random pictures fall on either side."""
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    torch.manual_seed(3)
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
              "image_size": 32, "patch_size": 8}  # fmt: skip
    model = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=16))
    for embeds in (model.concept_embeds, model.special_care_embeds):
        torch.nn.init.normal_(embeds)
    torch.nn.init.normal_(model.visual_projection.weight)
    torch.nn.init.constant_(model.concept_embeds_weights, 0.52)
    torch.nn.init.constant_(model.special_care_embeds_weights, 0.2)
    path = tmp_path_factory.mktemp("safety")
    model.save_pretrained(path)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(path)
    return path


def pictures(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [np.full((48, 40, 3), rng.integers(0, 256, 3), np.uint8) ^ rng.integers(0, 64, (48, 40, 3), np.uint8)
            for _ in range(count)]  # fmt: skip


def test_it_says_yes_where_diffusers_own_checker_does(folder: Path) -> None:
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from PIL import Image
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    images = pictures(23)
    judge = open_safety_judge(Policy(classifier=folder), Machine(threads=1))
    assert judge is not None
    scores = judge.flag(images)
    checker = StableDiffusionSafetyChecker.from_pretrained(folder).eval()
    shown = CLIPImageProcessorPil.from_pretrained(folder)([Image.fromarray(i) for i in images], return_tensors="pt")
    with torch.inference_mode():
        _, theirs = checker(clip_input=shown["pixel_values"], images=[image.astype(float) for image in images])
    assert {True, False} == set(theirs)
    assert [score > 0.0005 for score in scores] == theirs  # they round to three digits first


def test_a_picture_s_score_does_not_depend_on_its_neighbours(folder: Path) -> None:
    judge = open_safety_judge(Policy(classifier=folder), Machine(threads=1))
    assert judge is not None
    images = pictures(6)
    assert judge.flag(images) == [score for image in images for score in judge.flag([image])]
    assert judge.flag([]) == []


def test_no_classifier_is_none_and_a_folder_without_one_is_one_line(tmp_path: Path) -> None:
    assert open_safety_judge(Policy(), Machine()) is None
    with pytest.raises(UserError, match=r"holds no safety classifier \(config\.json.*policy\.classifier: null"):
        open_safety_judge(Policy(classifier=tmp_path), Machine())


def test_weights_of_another_model_are_refused(folder: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.numpy import load_file, save_file

    other = Path(shutil.copytree(folder, tmp_path / "other"))
    tensors = load_file(other / "model.safetensors")
    del tensors["concept_embeds"]
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="lack 1 tensors"):
        open_safety_judge(Policy(classifier=other), Machine())

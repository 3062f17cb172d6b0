"""A sheet of samples: how the base is judged by eye."""

from pathlib import Path

import numpy as np
from diffusers import StableDiffusionXLPipeline
from PIL import Image

PROMPTS = (
    "a woman, smiling, red shirt, beach background, portrait, daylight light",
    "a man, neutral, blue shirt, city background, portrait, cool light",
    "a woman, surprised, green jacket, forest background, close-up, warm light",
    "a man, smiling, glasses, orange jacket, night background, medium, daylight light",
    "a woman, frowning, purple shirt, studio background, close-up, daylight light",
    "a man, surprised, yellow shirt, room background, portrait, warm light",
    "a woman, smiling, sunglasses, pink jacket, beach background, portrait, warm light",
    "a man, frowning, red beanie, black jacket, city background, portrait, cool light",
    "a woman, neutral, blue cap, yellow shirt, forest background, close-up, daylight light",
    "a man, smiling, sunglasses, green shirt, studio background, medium, warm light",
    "a woman with long wavy black hair and dark skin, smiling, red jacket, room background, portrait, daylight light",
    "a man with a bald head and a full beard, neutral, purple shirt, studio background, close-up, daylight light",
    "a woman with a blond bob and pale skin, glasses, pink shirt, night background, portrait, cool light",
    "a man with curly ginger hair, smiling, orange shirt, beach background, close-up, daylight light",
    "a woman",
    "a man",
)
GUIDANCES = (2.0, 4.0, 6.0)


def write_montage(pipeline: StableDiffusionXLPipeline, path: Path, steps: int = 16) -> None:
    """A PNG with one column per prompt (and seed) and one row per guidance scale."""
    from miniature.base import sample

    seeds = list(range(len(PROMPTS)))
    rows = [np.hstack(list(sample(pipeline, list(PROMPTS), seeds, steps, guidance))) for guidance in GUIDANCES]
    Image.fromarray(np.vstack(rows)).save(path, optimize=True)

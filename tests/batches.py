"""Folders of a batch, as review finds them: rendered faces with records, of which some were rejected."""

from pathlib import Path

import numpy as np

from miniature.render import mix_identities, render, sample_identity, sample_scene
from stages.contracts.production import Origin, PictureRecord, Scores, write_record
from stages.runtime.pictures import hash_pixels, read_picture, write_png

WHO, STRANGER = 1_920_003, 1_920_104
FIELDS = dict.fromkeys(
    ("lora_sha256", "base_sha256", "manifest_sha256", "subject_sha256", "reference_sha256"), "ab" * 32
)
MOODS = ("smiling", "neutral", "surprised", "frowning")
PLACES = ("studio", "city", "beach", "forest", "room")
PASS = 0.5  # similarity from which on the gate approves


def make_batch(
    folder: Path, count: int = 40, side: int = 64, *, version: str = "v3", shift: float = 0.0, seed: int = 0
) -> list[PictureRecord]:
    """``count`` pictures in approved/ and rejected/; ``shift`` makes all of them more or less alike."""
    rng, records = np.random.default_rng(seed), []
    for number in range(count):
        likeness = float(np.clip(rng.uniform(0.2, 0.9) + shift, 0, 1))
        mood, place = MOODS[number % len(MOODS)], PLACES[number % len(PLACES)]
        scene = sample_scene(number, expression=mood, background=place, eyewear="none", hat="none", framing="close-up")
        who = mix_identities(sample_identity(STRANGER, woman=True), sample_identity(WHO, woman=True), likeness)
        approved = likeness >= PASS
        path = folder / ("approved" if approved else "rejected") / f"p{number // 4:02d}_s{1000 + number % 4}.png"
        write_png(path, render(who, scene, side).image)
        prompt = f"{{trigger}}, a {{class_word}}, {mood}, {place} background, number {number // 4}"
        record = PictureRecord(
            file=path.name, pixels_sha256=hash_pixels(read_picture(path)), approved=approved,
            origin=make_origin(prompt, 1000 + number % 4, version, side),
            scores=Scores(
                faces=1, similarity=likeness, second_similarity=float(np.clip(likeness + rng.normal(0, 0.1), 0, 1)),
                realism=float(rng.uniform(0.4, 0.9)), adherence=float(rng.uniform(0.2, 0.35)),
                sharpness=float(rng.uniform(0.7, 1.3)),
            ),
            reasons=() if approved else (f"similarity {likeness:.2f} is below {PASS:.2f}",),
        )  # fmt: skip
        write_record(path, record)
        if not approved:
            path.with_suffix(".txt").write_text(record.reasons[0] + "\n")
        records.append(record)
    return records


def make_origin(prompt: str, seed: int, version: str, side: int) -> Origin:
    text = prompt.replace("{trigger}", "amira").replace("{class_word}", "woman")
    return Origin(
        batch="abcdef012345", prompt=prompt, text=text, negative_prompt="", seed=seed, version=version,
        lora=f"models/lora/{version}.safetensors", base="models/base", strength=1.0, mode="lora", guidance=3.0,
        sampler="ddim", steps=20, width=side, height=side, backend="diffusers", **FIELDS,
    )  # fmt: skip

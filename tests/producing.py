"""A workspace in which batches are made, and what their tests ask of it."""

from pathlib import Path
from typing import Any

import pandas as pd
from workspaces import PARAMS

from stages import batch as stage
from stages.contracts.batches import APPROVED, BATCH, REASON, REJECTED, Batch, read_batch
from stages.contracts.production import PictureRecord, read_record
from stages.contracts.scorecard import Cell, Choice, write_choice
from stages.contracts.settings import parse, read_machine, read_params
from stages.flows.policy import PromptPolicy, open_policy
from stages.flows.production_prompts import Asked

CELL = {"images": 4, "similarity_mean": 0.5, "pass_rate": 0.5, "detection_rate": 1.0}
PROMPTS = ("{trigger}, a {class_word}, smiling", "nobody, {trigger}", "{trigger}, a {class_word}, frowning")


def choose(strength: float = 1.0, lora: str = "models/lora/persona.safetensors", **changes: Any) -> None:
    """metrics/sweep_choice.json: the LoRA that draws the persona."""
    cell = Cell(
        **{"base": "base", "mode": "lora", "checkpoint": 200, "lora": lora, "guidance": 2.0, "sampler": "euler",
           "strength": strength} | CELL | changes
    )  # fmt: skip
    write_choice(Choice(best=cell, worst=cell, cells=1, images=4))


def params(**changes: Any) -> stage.Params:
    """The sections of the entered workspace, with some of them changed key by key."""
    sections = {name: PARAMS.get(name, {}) | changes.get(name, {}) for name in stage.Params.model_fields}
    return parse(stage.Params, sections)


def make(folder: str = "out", **asked: Any) -> Batch:
    """Make a batch in ``folder``; what came out."""
    stage.main(Asked(output=Path(folder), **{"prompts": PROMPTS} | asked))
    return read_batch(Path(folder))


def records(folder: str = "out") -> list[PictureRecord]:
    """Every record of the folder, by name."""
    return sorted((read_record(p) for p in Path(folder).rglob("*.png")), key=lambda record: record.file)


def pictures(folder: str | Path) -> dict[str, bytes]:
    """Bytes of everything that a batch says of its pictures, by name; what tells of time is left out."""
    kept = [path for path in Path(folder).rglob("*") if path.is_file() and path.name != BATCH]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in kept if not p.name.startswith("batch_report")}


def check_folder(folder: str = "out") -> None:
    """Every figure of batch.json and the table, recomputed from the files."""
    root, batch = Path(folder), read_batch(Path(folder))
    found = {name: sorted((root / name).glob("*.png")) for name in (APPROVED, REJECTED)}
    names = [path.name for paths in found.values() for path in paths]
    assert len(set(names)) == len(names) == batch.generated == batch.accepted + batch.rejected
    assert (len(found[APPROVED]), len(found[REJECTED])) == (batch.accepted, batch.rejected)
    rules: dict[str, int] = {}
    for name, paths in found.items():
        for path in paths:
            record = read_record(path)
            assert record.file == path.name
            assert record.origin.batch == batch.id
            assert record.approved == (name == APPROVED) == (not record.reasons)
            assert path.with_suffix(REASON).exists() == (name == REJECTED)
            lines = path.with_suffix(REASON).read_text().splitlines() if name == REJECTED else []
            assert tuple(lines) == record.reasons
            for line in lines:
                rules[line.split(":")[0]] = rules.get(line.split(":")[0], 0) + 1
    assert batch.reasons == dict(sorted(rules.items()))
    table = pd.read_csv(root / "per_image.csv")
    assert sorted(table["file"]) == sorted(names)
    for score, mean in batch.means.items():
        own = [getattr(read_record(path).scores, score) for path in found[APPROVED]]
        assert abs(sum(own) / len(own) - mean) < 1e-9
        assert abs(table[table["approved"] == 1][score].mean() - mean) < 1e-5
    report = (root / "batch_report.md").read_text()
    assert f"{batch.accepted} of {batch.generated} pictures approved" in report
    assert all(f"| {rule} | {count} |" in report for rule, count in rules.items())


def policy() -> PromptPolicy:
    """The policy of the entered workspace."""
    return open_policy(read_params(stage.Params).policy, read_machine())

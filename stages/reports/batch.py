"""A batch in words: batch_report.md, and the lines that the command prints."""

from collections.abc import Sequence
from pathlib import Path

from stages.contracts.batches import APPROVED, PAGE, SCORES, Batch, index_of
from stages.contracts.findings import gating_judge
from stages.contracts.production import PictureRecord
from stages.reports.findings import bullets
from stages.reports.page.words import name_of, show_number

SHOWN = 5  # best and weakest pictures in the text
NAMES = {
    "sharpness": "Sharpness of the face, real photos are 1", "closeness": "Closeness to the nearest training photo"
}  # fmt: skip


def judged_by(batch: Batch) -> str:
    """The score of the face judge that decides."""
    return "second_similarity" if gating_judge(batch.best_config.mode) == "second" else "similarity"


def rank(records: Sequence[PictureRecord], score: str) -> list[PictureRecord]:
    """Pictures by a score, the best first; names decide between equals."""
    return sorted(records, key=lambda record: (-getattr(record.scores, score), record.file))


def name_score(score: str) -> str:
    """What a score is called."""
    return NAMES.get(score) or name_of(score)


def say_duration(seconds: float) -> str:
    """12.3 s, 4 min 05 s, 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def say_share(batch: Batch) -> str:
    """The acceptance rate; a dash before there is one."""
    return "–" if batch.acceptance is None else f"{100 * batch.acceptance:.0f}%"


def say_time_each(batch: Batch) -> str:
    """Time for one approved picture; a dash where there is none."""
    return "–" if batch.seconds_per_accepted is None else say_duration(batch.seconds_per_accepted)


def say_cost_each(batch: Batch) -> str:
    """Cost of one approved picture, or why it is not known."""
    return "no ledger is kept" if batch.usd_per_accepted is None else f"{batch.usd_per_accepted} $"


def missed(batch: Batch) -> str:
    """One sentence where fewer were accepted than were asked for; empty where they were not."""
    until = batch.settings.get("until")
    if until is None or batch.accepted >= until:
        return ""
    return f"{until} accepted pictures were asked for; after {batch.generated} it was given up (--max)."


def settings_rows(batch: Batch) -> list[tuple[str, str]]:
    """What was drawn with, name and value."""
    cell, draw = batch.best_config, batch.settings
    wanted = f"until {draw['until']} are accepted, at most {draw['most']}" if draw["until"] else f"{draw['count']} each"
    return [
        ("Version", batch.version), ("LoRA", f"{cell.lora} (sha256 {batch.lora_sha256[:12]})"),
        ("Base model", cell.base), ("Mode", cell.mode), ("LoRA strength", f"{cell.strength:g}"),
        ("Guidance", f"{cell.guidance:g}"), ("Sampler", f"{cell.sampler}, {draw['steps']} steps"),
        ("Size", f"{draw['resolution']} x {draw['resolution']} px"), ("Drawn by", str(draw["backend"])),
        ("Reference photo", cell.reference or "none"), ("Pictures", wanted), ("Seed", str(draw["seed"])),
        ("Negative prompt", draw["negative_prompt"] or "none"),
        ("Subject", f"{batch.subject} (card {batch.subject_sha256[:12]})"),
    ]  # fmt: skip


def render_markdown(batch: Batch, records: Sequence[PictureRecord]) -> str:
    """batch_report.md."""
    score = judged_by(batch)
    approved = rank([record for record in records if record.approved], score)
    parts = [
        f"# {batch.dataset} {batch.version}: {batch.accepted} of {batch.generated} pictures approved",
        f"Batch {batch.id}: acceptance rate {say_share(batch)}, {say_time_each(batch)} per accepted picture, cost per "
        f"accepted picture: {say_cost_each(batch)}. {missed(batch)}".strip(),
        *([bullets(batch.warnings)] if batch.warnings else []),
        "## Mean scores of the approved", _means(batch), "## Why pictures were rejected", _reasons(batch),
        "## Best", _list(approved[:SHOWN], score), "## Weakest of the approved",
        _list(approved[SHOWN:][::-1][:SHOWN], score), "## Prompts", _prompts(batch, records),
        *(["## Refused prompts", _refused(batch)] if batch.refused else []),
        "## Settings", "\n".join(f"- {name}: {value}" for name, value in settings_rows(batch)),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _means(batch: Batch) -> str:
    if not batch.means:
        return "None was approved."
    rows = [f"| {name_score(name)} | {show_number(name, batch.means.get(name))} |" for name in SCORES]
    return "\n".join(["| score | mean |", "|---|---:|", *rows])


def _reasons(batch: Batch) -> str:
    if not batch.reasons:
        return "None was rejected."
    rows = [f"| {rule} | {count} |" for rule, count in sorted(batch.reasons.items(), key=lambda item: (-item[1], item))]
    told = f"{batch.rejected} pictures were rejected; one may break several rules. Each says why in rejected/NAME.txt."
    return "\n".join([told, "", "| rule | pictures |", "|---|---:|", *rows])


def _list(records: Sequence[PictureRecord], score: str) -> str:
    lines = [f"- {show_number(score, getattr(one.scores, score))} `{APPROVED}/{one.file}`" for one in records]
    return "\n".join(lines) or "None."


def prompt_rows(batch: Batch, records: Sequence[PictureRecord]) -> list[tuple[str, str, int, int]]:
    """Of every prompt that was drawn: its name, its text, pictures and approved ones."""
    gone, rows = {one.prompt_index for one in batch.refused}, []
    for index, wish in enumerate(batch.wishes):
        own = [record for record in records if index_of(record.file) == index]
        if index not in gone:
            rows.append((f"p{index:02d}", wish.prompt, len(own), sum(record.approved for record in own)))
    return rows


def _prompts(batch: Batch, records: Sequence[PictureRecord]) -> str:
    rows = [f"| {name} | {_cell(text)} | {count} | {good} |" for name, text, count, good in prompt_rows(batch, records)]
    return "\n".join(["| | prompt | pictures | approved |", "|---|---|---:|---:|", *rows])


def _refused(batch: Batch) -> str:
    return bullets([f"p{one.prompt_index:02d}, {one.rule}: {one.reason}: {one.prompt!r}" for one in batch.refused])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def describe_outcome(batch: Batch, folder: Path, *, again: bool = False) -> list[str]:
    """What the command prints."""
    lines = [f"{folder}: finished already, nothing was drawn"] if again else []
    lines.append(f"{batch.accepted} of {batch.generated} pictures approved ({say_share(batch)}): {folder / APPROVED}")
    if batch.reasons:
        told = ", ".join(f"{rule} {n}" for rule, n in sorted(batch.reasons.items(), key=lambda item: (-item[1], item)))
        lines.append(f"rejected {batch.rejected}: {told}")
    lines += [f"refused p{one.prompt_index:02d}: {one.rule}: {one.reason}" for one in batch.refused]
    lines += [text for text in (missed(batch),) if text]
    lines.append(f"{say_time_each(batch)} per accepted picture, cost: {say_cost_each(batch)}")
    return [*lines, f"report: {folder / PAGE}"]

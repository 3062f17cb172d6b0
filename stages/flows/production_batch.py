"""Make one batch: draw, judge and file its pictures, as often interrupted as may be."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from stages.backends.generate import drawer_of, open_generator
from stages.contracts.batches import (
    BATCH,
    COLUMNS,
    PAGE,
    REPORT,
    SCORES,
    TABLE,
    Batch,
    Refusal,
    Wish,
    index_of,
    write_batch,
)
from stages.contracts.generation import Generator
from stages.contracts.paths import BATCHES, MANIFEST
from stages.contracts.production import PictureRecord
from stages.contracts.settings import Machine, Promotion
from stages.contracts.subject import Subject
from stages.flows.drawing import describe_drawer
from stages.flows.licences import licences_of, require_licences
from stages.flows.policy import open_policy
from stages.flows.production import Order, Produced, Production, open_production
from stages.flows.production_folder import BatchFolder
from stages.flows.production_gate import rule_of
from stages.flows.production_health import check_backend
from stages.flows.production_plan import order_all
from stages.flows.production_prompts import Asked, gather_wishes
from stages.flows.production_recipe import Recipe, choose_recipe
from stages.flows.scorecards import warn_of_dataset
from stages.flows.subject import require_subject
from stages.reports.batch import render_markdown
from stages.reports.page.batch import render_batch_page
from stages.reports.tables import write_table
from stages.runtime.errors import UserError
from stages.runtime.files import write_text
from stages.runtime.metering import ask_cost
from stages.runtime.progress import Progress, tell_resumed
from stages.runtime.provenance import hash_file, hash_json
from stages.runtime.state import work_folder


class Params(Produced, Protocol):
    """The sections of whoever makes batches."""

    @property
    def promotion(self) -> Promotion: ...


@dataclass(frozen=True)
class Job:
    """What a batch is made with."""

    params: Params
    machine: Machine
    recipe: Recipe
    subject: Subject
    generator: Generator
    wishes: tuple[Wish, ...]

    @property
    def id(self) -> str:
        """12 hexadecimal digits from everything that was asked for, and nothing of who draws it."""
        params, recipe = self.params, self.recipe
        names = ("dataset", "thresholds", "judges", "policy")
        sections = [getattr(params, name).model_dump(mode="json") for name in names]
        made_of = [recipe.lora_sha256, recipe.base_sha256, recipe.reference_sha256, hash_file(MANIFEST)]
        cell = recipe.cell.model_dump(mode="json", exclude={"lora"})
        wishes = [wish.model_dump(mode="json") for wish in self.wishes]
        return hash_json([sections, self.settings, made_of, cell, recipe.version, self.subject.sha256, wishes])[:12]

    @property
    def settings(self) -> dict[str, Any]:
        """The section batch without its prompts, which may not be those that are drawn."""
        return self.params.batch.model_dump(mode="json", exclude={"prompts"})

    @property
    def drawn_by(self) -> str:
        """Another drawer may draw other pixels."""
        generator = self.generator
        return hash_json(describe_drawer(drawer_of(generator), generator.identity, self.params.batch, self.machine))


def prepare_job(params: Params, machine: Machine, asked: Asked) -> Job:
    """Look whether everything is there, and whether it may be done at all.

    Raises:
        UserError: for a missing or invalid subject card, version, LoRA, prompt file or model, or a backend that is
            not there.
    """
    subject = require_subject(params.dataset, params.promotion.use)
    wishes, recipe, promotion = gather_wishes(params.batch, asked), choose_recipe(asked.lora), params.promotion
    licences = licences_of(
        Path(recipe.cell.base), recipe.cell.mode, params.batch.backend, params.judges, params.comfyui, promotion,
        params.policy.classifier,
    )  # fmt: skip
    require_licences(licences, promotion.use)
    generator = open_generator(params.batch.backend, machine, params.batch.micro_batch, params.comfyui)
    check_backend(params.batch.backend, generator, recipe, machine, params.comfyui)
    return Job(params, machine, recipe, subject, generator, tuple(wishes))


def make_batch(job: Job, output: Path | None = None) -> tuple[Batch, Path]:
    """Make the batch, or go on with it; the batch and its folder.

    Raises:
        UserError: when every prompt is refused, the folder is another batch's, or the disk is too small.
    """
    started, batch_id = time.monotonic(), job.id
    folder = BatchFolder(output or BATCHES / batch_id)
    found = folder.read(batch_id, job.drawn_by)
    if found is not None and found.state != "drawing":
        return found, folder.path
    params, machine = job.params, job.machine
    policy = open_policy(params.policy, machine)
    with work_folder(machine.state_dir, "batch", hash_json([batch_id, job.drawn_by])) as kept:
        subject = job.subject.sha256
        with open_production(
            params, machine, job.recipe, subject, policy, generator=job.generator, kept=kept
        ) as production:
            orders, refused, warnings = order_all(production, job.wishes, batch_id)
            if not orders:
                why = "; ".join(f"p{one.prompt_index:02d}: {one.rule}: {one.reason}" for one in refused)
                raise UserError("prompts", f"every one is refused: {why}", "say them otherwise")
            folder.check_room(len(orders), params.batch.resolution)
            batch = found or folder.begin(_begin(job, production, refused, warnings))
            records = list(_draw(production, params, orders, folder, batch, started))
            batch = summarise(batch, records, batch.seconds + time.monotonic() - started)
            return write_results(folder.path, batch, records), folder.path


def _begin(job: Job, production: Production, refused: Sequence[Refusal], warnings: Sequence[str]) -> Batch:
    recipe = job.recipe
    origin = {"lora_dataset": recipe.manifest_sha256, "dataset_manifest_sha256": hash_file(MANIFEST)}
    return Batch(
        id=job.id, drawn_by=job.drawn_by, begun=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        dataset=job.params.dataset.name, version=recipe.version, lora_sha256=recipe.lora_sha256,
        subject=job.subject.name, subject_sha256=job.subject.sha256, best_config=recipe.cell, settings=job.settings,
        thresholds=job.params.thresholds.model_dump(mode="json"), memorised_from=production.memorised_from,
        wishes=job.wishes, refused=tuple(refused), warnings=(*warn_of_dataset(origin), *warnings),
    )  # fmt: skip


def _draw(
    production: Production, params: Params, orders: Sequence[Order], folder: BatchFolder, batch: Batch, started: float
) -> Iterator[PictureRecord]:
    """Draw and file one picture after the other until enough are accepted; batch.json says how far it is."""
    until, before = params.batch.until, batch.seconds
    tell_resumed("batch", sum(folder.find(order) is not None for order in orders), len(orders))
    progress, generated, accepted = Progress("batch", len(orders), unit="picture"), 0, 0
    with closing(production.make(orders, folder.find)) as pictures:  # what is under way is cancelled
        for made in pictures:
            require_subject(params.dataset, params.promotion.use)  # a card that is revoked meanwhile stops the batch
            folder.land(made)
            generated, accepted = generated + 1, accepted + made.record.approved
            counts = {"generated": generated, "accepted": accepted, "rejected": generated - accepted}
            seconds = round(before + time.monotonic() - started, 1)
            write_batch(batch.model_copy(update=counts | {"seconds": seconds}), folder.path)
            progress.advance(accepted=accepted)
            yield made.record
            if until is not None and accepted >= until:
                return


def summarise(batch: Batch, records: Sequence[PictureRecord], seconds: float) -> Batch:
    """What came out, from the pictures' records."""
    approved = [record for record in records if record.approved]
    reasons = Counter(rule_of(reason) for record in records for reason in record.reasons)
    values = {name: [getattr(record.scores, name) for record in approved] for name in SCORES}
    means = {name: float(np.mean([v for v in found if v is not None])) for name, found in values.items() if found}
    return batch.model_copy(
        update={
            "state": "drawn", "generated": len(records), "accepted": len(approved),
            "rejected": len(records) - len(approved), "reasons": dict(sorted(reasons.items())), "means": means,
            "seconds": round(seconds, 1),
        }
    )  # fmt: skip


def write_results(folder: Path, batch: Batch, records: Sequence[PictureRecord]) -> Batch:
    """Write table, reports and last of all batch.json."""
    rows = [_row(record) for record in records]
    write_table(folder / TABLE, rows, COLUMNS)
    write_batch(batch, folder)
    batch = batch.model_copy(update={"usd_per_accepted": ask_cost(folder / BATCH)})
    write_text(folder / REPORT, render_markdown(batch, records))
    write_text(folder / PAGE, render_batch_page(batch, records, folder))
    write_batch(batch, folder)
    return batch


def _row(record: PictureRecord) -> dict[str, Any]:
    origin = record.origin
    return {
        "file": record.file, "approved": int(record.approved), "prompt_index": index_of(record.file),
        "prompt": origin.text, "seed": origin.seed, "reasons": "; ".join(record.reasons),
        **{name: "" if value is None else value for name, value in record.scores.model_dump().items()},
    }  # fmt: skip


def stamp_batch(batch: Batch, folder: Path) -> Batch:
    """Give the approved pictures their passports: `pistachio stamp`, which knows which of them have one.

    Raises:
        UserError: when it fails; the pictures are there, and asking for the same batch again goes on here.
    """
    if batch.accepted:
        done = subprocess.run(
            [sys.executable, "-m", "publish", "stamp", str(folder)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["no reason given"])[-1].removeprefix("error: ")
            todo = f"mend it and run `pistachio stamp {folder}`, or this command again: nothing is drawn again"
            raise UserError(folder, f"all pictures are drawn, but have no passports yet ({why})", todo)
    batch = batch.model_copy(update={"state": "finished"})
    write_batch(batch, folder)
    return batch

"""A batch's folder: pictures land in it as they are decided upon, each whole or not at all."""

import shutil
from pathlib import Path

from stages.contracts.batches import APPROVED, BATCH, REASON, REJECTED, Batch, read_batch, write_batch
from stages.contracts.production import SIDECAR, read_record, write_record
from stages.flows.production import Made, Order
from stages.runtime.errors import UserError
from stages.runtime.files import write_text
from stages.runtime.pictures import write_png

SPARE = 64 << 20  # bytes that reports and records may need


class BatchFolder:
    """Where the pictures of one batch lie, and what of it is there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, batch_id: str, drawn_by: str) -> Batch | None:
        """How far the batch is; None when it is not begun.

        Raises:
            UserError: when another batch, or anything else, is in the folder, or another drawer began this one.
        """
        todo = "name another --output-dir, or move that folder away"
        if not (self.path / BATCH).exists():
            if self.path.exists() and not (self.path.is_dir() and all(map(_hidden, self.path.iterdir()))):
                raise UserError(self.path, "is not empty, and no batch is in it", todo)
            return None
        found = read_batch(self.path)
        if found.id != batch_id:
            raise UserError(self.path, f"holds another batch ({found.id}; this one is {batch_id})", todo)
        if found.state == "drawing" and found.drawn_by != drawn_by:
            raise UserError(self.path, "was begun by other code or on another device: its pictures would differ", todo)
        return found

    def begin(self, batch: Batch) -> Batch:
        """Make the folder, with the batch's file in it."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_batch(batch, self.path)
        return batch

    def find(self, order: Order) -> Path | None:
        """The picture of an order where it has landed."""
        for name in (APPROVED, REJECTED):
            picture = self.path / name / order.name
            if picture.exists() and picture.with_suffix(SIDECAR).exists():
                return picture if read_record(picture).origin == order.origin else None
        return None

    def land(self, made: Made) -> None:
        """Write a picture, why it was rejected, and last its record: what has one is whole."""
        here, there = (APPROVED, REJECTED) if made.record.approved else (REJECTED, APPROVED)
        picture = self.path / here / made.order.name
        if not (picture.with_suffix(SIDECAR).exists() and read_record(picture) == made.record):
            write_png(picture, made.pixels)
            if made.record.reasons:
                write_text(picture.with_suffix(REASON), "\n".join(made.record.reasons) + "\n")
            write_record(picture, made.record)
        for suffix in (SIDECAR, REASON, picture.suffix):
            (self.path / there / made.order.name).with_suffix(suffix).unlink(missing_ok=True)

    def check_room(self, pictures: int, side: int) -> None:
        """Refuse before anything is drawn where the disk has no room for it.

        Raises:
            UserError: with what is free and what is needed.
        """
        above = next(path for path in (self.path, *self.path.absolute().parents) if path.is_dir())
        free, needed = shutil.disk_usage(above).free, 2 * pictures * 3 * side * side + SPARE  # drawn, and landed
        if free < needed:
            what = f"{free / 1e9:.1f} GB free, {pictures} pictures may need {needed / 1e9:.1f} GB"
            raise UserError(above, what, "make room, or ask for fewer (--max)")


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")

"""The drawer of the workspace: what `pistachio batch` draws with, its gate, and the passports."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from publish.serve.drawer import NotAllowed, Verdict, picture_path
from publish.serve.job import Job
from publish.serve.params import Params
from stages.runtime.errors import UserError

if TYPE_CHECKING:
    from publish.passport.stamping import Issuer
    from stages.flows.production import Made, Production
    from stages.flows.production_recipe import Recipe

DRAWN = ".drawn"  # in the output folder: a picture between generator and gate


class ProductionDrawer:
    """Draws with the production that it was given; jobs do not see each other's near-duplicates."""

    def __init__(self, production: "Production", issuer: "Issuer", params: Params, output: Path) -> None:
        self._production, self._issuer, self._params, self._output = production, issuer, params, output
        self._next: tuple[str, int] | None = None  # job and number whose forerunners the production remembers

    def draw(self, job: Job, number: int, path: Path) -> Verdict:
        """See Drawer."""
        from stages.runtime.pictures import write_png

        self._check_subject()
        if self._next != (job.id, number):
            self._remember(job)
        made = self._make(job, number, path.name)
        self._next = (job.id, number + 1)
        self._check_subject()  # nothing that was drawn while the card was revoked leaves the house
        if not made.record.approved:
            return Verdict("", tuple(made.record.reasons))
        if not _holds(path, made):  # a worker that was killed here may have stamped it
            write_png(path, made.pixels)
        return self._publish(path, made)

    def _check_subject(self) -> None:
        from stages.flows.subject import require_subject

        try:
            card = require_subject(self._params.dataset, self._params.promotion.use)
        except UserError as error:
            raise NotAllowed(error.where, error.what, error.todo) from None
        if card.sha256 != self._production.subject_sha256:
            raise NotAllowed("data/subject.yaml", "another card than the one that this worker began with", "restart")

    def _remember(self, job: Job) -> None:
        """Have the production know what it accepted of this job, and nothing else."""
        self._production.accepted.clear()
        for draw in job.pictures:
            assert draw.picture is not None
            self._make(job, draw.number, picture_path(self._output, job.id, draw.picture).name)

    def _make(self, job: Job, number: int, name: str) -> "Made":
        asked, found = job.asked, self._output / job.id / name
        order = self._production.order(
            asked.prompt, job.seed_of(number), asked.negative_prompt, batch=job.id, name=name
        )  # fmt: skip
        known = any(draw.number == number and draw.picture is not None for draw in job.draws) and found.is_file()
        (made,) = self._production.make([order], (lambda _: found) if known else (lambda _: None))
        for left in self._production.kept.iterdir():
            left.unlink()
        return made

    def _publish(self, path: Path, made: "Made") -> Verdict:
        from publish.passport.stamping import stamp_picture
        from stages.contracts.production import write_record
        from stages.runtime.provenance import hash_file

        write_record(path, made.record)
        stamp_picture(path, made.record, self._issuer)
        return Verdict(hash_file(path), ())


def _holds(path: Path, made: "Made") -> bool:
    """Whether ``path`` has the pixels that were made."""
    from stages.runtime.pictures import hash_pixels, read_picture

    try:
        return path.is_file() and hash_pixels(read_picture(path)) == made.record.pixels_sha256
    except UserError:  # half written by somebody else's hand
        return False


@contextmanager
def open_drawer(params: Params, output: Path, lora: str | None) -> Iterator[ProductionDrawer]:
    """The workspace's drawer.

    Raises:
        UserError: when the subject card, weights, photos or the LoRA are missing.
    """
    from publish.passport.stamping import open_issuer
    from stages.flows.policy import open_policy
    from stages.flows.production import open_production
    from stages.flows.production_recipe import choose_recipe
    from stages.flows.subject import require_subject

    card = require_subject(params.dataset, params.promotion.use)
    kept = output / DRAWN
    kept.mkdir(exist_ok=True)
    recipe = choose_recipe(lora)
    _require_licences(params, recipe)
    policy = open_policy(params.policy, params.machine)
    with open_production(params, params.machine, recipe, card.sha256, policy, kept=kept) as production:
        yield ProductionDrawer(production, open_issuer(params.publish), params, output)


def _require_licences(params: Params, recipe: "Recipe") -> None:
    """Nothing when the licences of base, judges and conditioning models allow the declared use.

    Raises:
        UserError: naming those that forbid it.
    """
    from stages.flows.licences import licences_of, require_licences

    licences = licences_of(
        Path(recipe.cell.base), recipe.cell.mode, params.batch.backend, params.judges, params.comfyui,
        params.promotion, params.policy.classifier,
    )  # fmt: skip
    require_licences(licences, params.promotion.use)

"""A sweep whose truth is planted: the scores of every picture are known before it is drawn."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.contracts.scorecard import Settings
from stages.contracts.settings import Dataset, Sweep
from stages.flows.scoring import Score, Shot
from stages.flows.sights import Sight
from stages.flows.sweeping import Outcome, Sheet, run_sweep
from stages.measures.skin import NO_FACE
from stages.runtime.seeds import derive_seed

Truth = Callable[[Settings], float]
BLANK = Sight(face=None, second=None, shows=np.zeros(1, np.float32), hashes=(0, 0))


def make_score(similarity: float) -> Score:
    """The scores of one picture; similarity 0 is a lost face."""
    found = similarity != 0
    return Score(found, similarity, 0.9 * similarity, NO_FACE, 0.3, BLANK)


class Planted:
    """Scores shots without drawing them: the cell's truth, how easy prompt and seed are, and a picture's own noise."""

    def __init__(self, truth: Truth, noise: float = 0.02) -> None:
        self.truth, self.noise, self.drawn = truth, noise, list[Shot]()

    def score(self, shots: Sequence[Shot]) -> Iterator[Score]:
        for shot in shots:
            self.drawn.append(shot)
            request = shot.request
            easy = np.random.default_rng(derive_seed(request.seed, request.prompt)).normal(0, 0.1)
            named = (request.prompt, request.lora, request.guidance, request.sampler, request.strength)
            own = np.random.default_rng(derive_seed(request.seed, *named)).normal(0, self.noise)
            step = int(Path(str(request.lora)).stem)
            cell = Settings(
                base="base", mode="lora", checkpoint=step, lora=str(request.lora), guidance=request.guidance,
                sampler=request.sampler, strength=request.strength,
            )  # fmt: skip
            yield make_score(self.truth(cell) + float(easy) + float(own))


def make_cells(steps: Sequence[int], guidance: Sequence[float] = (2.0, 3.0)) -> list[Settings]:
    """A cell for every checkpoint and guidance."""
    return [
        Settings(
            base="base", mode="lora", checkpoint=step, lora=f"{step}.safetensors", guidance=scale, sampler="ddim",
            strength=1.0,
        )
        for step in steps
        for scale in guidance
    ]  # fmt: skip


def make_sweep(**changes: Any) -> Sweep:
    """Settings of a sweep on two prompts."""
    values: dict[str, Any] = {
        "backend": "diffusers", "resolution": 64, "steps": 4, "micro_batch": 4, "bases": ["base"],
        "prompts": ["{trigger}, smiling", "{trigger}, a {class_word}"], "seeds": range(1, 7),
        "confirm_seeds": range(11, 19),
    }  # fmt: skip
    return Sweep(**values | changes)


def plant(
    truth: Truth, folder: Path = Path(), cells: Sequence[Settings] | None = None, **changes: Any
) -> tuple[Sheet, Outcome, Planted]:
    """Run a sweep of ``cells`` whose true scores ``truth`` gives."""
    sweep, studio = make_sweep(**changes), Planted(truth)
    dataset = Dataset(name="persona", photos=Path("photos"), trigger="amira", class_word="woman")
    sheet = Sheet(cells or make_cells([100, 200, 300]), sweep, dataset, folder)
    return sheet, run_sweep(sheet, studio, sweep), studio  # type: ignore[arg-type]

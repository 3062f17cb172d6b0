"""Which pictures a batch draws, in which order, with which seeds and names."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from stages.contracts.batches import Refusal, Wish
from stages.contracts.policy import Refused
from stages.contracts.protocol import fill
from stages.contracts.settings import Batch
from stages.flows.production import Order, Production, name_part, name_prompt
from stages.runtime.seeds import derive_seed

SEEDS = 2**32  # as many as every backend takes


def seed_of(batch: Batch, prompt: str, number: int) -> int:
    """The seed of a prompt's picture: it follows from the text and the number, so another prompt moves no other."""
    return derive_seed(batch.seed, "batch", prompt, number) % SEEDS


def plan_rounds(wishes: Mapping[int, Wish], batch: Batch) -> Iterator[tuple[int, int]]:
    """(index of the prompt, number of its picture), one of every prompt a round, as long as it may go on.

    Args:
        wishes: by index, in order.
        batch: says how many.
    """
    usual = batch.count if batch.until is None else batch.most
    limits = {index: wish.count or usual for index, wish in wishes.items()}
    places = ((index, n) for n in range(max(limits.values(), default=0)) for index in limits if n < limits[index])
    yield from places if batch.until is None else islice(places, batch.most)


def order_all(
    production: Production, wishes: Sequence[Wish], batch_id: str
) -> tuple[list[Order], list[Refusal], list[str]]:
    """Every picture that may be drawn, in the order of their decisions; the prompts that are refused; warnings.

    A refused prompt keeps its index, so that what it is called tells where it stands.
    """
    batch, dataset = production.params.batch, production.params.dataset
    refused, kept = _sort_out(production, wishes)
    orders = []
    for index, number in plan_rounds(kept, batch):
        wish, seed = kept[index], seed_of(batch, kept[index].prompt, number)
        name = picture_name(production.recipe.version, index, wish.prompt, seed)
        orders.append(production.order(wish.prompt, seed, wish.negative_prompt, batch=batch_id, name=name))
    nameless = [index for index, wish in kept.items() if dataset.trigger not in fill(wish.prompt, dataset)]
    warnings = [f"Prompt p{i:02d} does not say {{trigger}}: it asks for nobody in particular." for i in nameless]
    return orders, refused, warnings


def picture_name(version: str, index: int, prompt: str, seed: int) -> str:
    """VERSION_p03_what-it-shows_s12345.png."""
    return f"{name_part(version)}_p{index:02d}_{name_prompt(prompt)}_s{seed}.png"


def _sort_out(production: Production, wishes: Sequence[Wish]) -> tuple[list[Refusal], dict[int, Wish]]:
    """The prompts that are refused, and the others by their index."""
    refused: list[Refusal] = []
    seen: dict[tuple[str, str | None], int] = {}
    for index, wish in enumerate(wishes):
        first = seen.setdefault((wish.prompt, wish.negative_prompt), index)
        try:
            if first != index:
                raise Refused("repeated", f"it stands there already as p{first:02d}")
            production.order(wish.prompt, 0, wish.negative_prompt)
        except Refused as error:
            refused.append(Refusal(prompt_index=index, prompt=wish.prompt, rule=error.rule, reason=error.reason))
    gone = {one.prompt_index for one in refused}
    return refused, {index: wish for index, wish in enumerate(wishes) if index not in gone}

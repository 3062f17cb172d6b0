"""What a step sees depends on the seed and its number alone; every epoch shows every picture once."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.backends.train.batches import Draw, Sample, collate, draw_rows, holdout_batches, vary_caption
from stages.backends.train.data import Picture
from stages.contracts.train_settings import CaptionUse

SMALL, WIDE = (1, 2, 2), (1, 2, 4)


def picture(number: int, shape: tuple[int, ...] = SMALL, mask: torch.Tensor | None = None) -> Picture:
    latents = torch.full((2, *shape), float(number))
    latents[1] += 100  # the mirror image
    return Picture(latents, torch.full((6,), float(number)), f"caption {number}", mask)


PICTURES = [picture(number) for number in range(5)]
OWN = Draw("own", 4, 0, 1000)


def rows_of(samples: list[Sample]) -> list[int]:
    return [int(sample.latents[0, 0, 0]) % 100 for sample in samples]


@given(
    st.lists(st.sampled_from([SMALL, WIDE, (1, 4, 2)]), min_size=1, max_size=23), st.integers(1, 8), st.integers(0, 99)
)
def test_every_epoch_shows_every_picture_once_whatever_the_shapes(
    shapes: list[tuple[int, ...]], count: int, seed: int
) -> None:
    total = len(shapes)
    turns = range(1, 3 * total // count + 2)
    rows = [row for turn in turns for row in draw_rows(tuple(shapes), count, turn, seed, "own")]
    epochs = [rows[start : start + total] for start in range(0, len(rows) - total + 1, total)]
    assert epochs
    assert all(sorted(epoch) == list(range(total)) for epoch in epochs)


def test_epochs_differ() -> None:
    shapes = (SMALL,) * 6
    assert len({tuple(draw_rows(shapes, 6, turn, 0, "own")) for turn in range(1, 20)}) > 10


def test_pictures_of_one_shape_come_together_as_far_as_it_goes() -> None:
    shapes = (SMALL, WIDE) * 8
    mixed = [len({shapes[row] for row in draw_rows(shapes, 4, turn, 0, "own")}) for turn in range(1, 41)]
    assert mixed == [1] * 40


def test_a_step_is_the_same_whatever_was_drawn_before() -> None:
    first = OWN.samples(PICTURES, 7)
    OWN.samples(PICTURES, 8)
    again = OWN.samples(PICTURES, 7)
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a.noise, b.noise)
        assert torch.equal(a.latents, b.latents)
        assert (a.timestep, a.caption) == (b.timestep, b.caption)
    assert not torch.equal(first[0].noise, Draw("own", 4, 1, 1000).samples(PICTURES, 7)[0].noise)


def test_captions_and_time_ids_stay_with_their_pictures_and_mirrors_occur() -> None:
    samples = Draw("own", 40, 0, 1000).samples(PICTURES, 1)
    rows = rows_of(samples)
    assert [f"caption {row}" for row in rows] == [sample.caption for sample in samples]
    assert all(float(sample.time_ids[0]) == row for row, sample in zip(rows, samples, strict=True))
    assert 8 < sum(float(sample.latents[0, 0, 0]) >= 100 for sample in samples) < 32


def test_collating_puts_one_shape_into_one_batch_and_loses_nobody() -> None:
    pictures = [picture(0), picture(1, WIDE), picture(2), picture(3, WIDE)]
    batches = collate([*Draw("own", 4, 0, 1000).samples(pictures, 1), *Draw("prior", 3, 0, 1000).samples(PICTURES, 1)])
    assert sorted(tuple(batch.latents.shape) for batch in batches) == [(2, 1, 2, 4), (5, 1, 2, 2)]
    assert Counter(flag for batch in batches for flag in batch.own.tolist()) == {True: 4, False: 3}


def test_a_picture_without_a_mask_counts_everywhere_beside_one_that_has_one() -> None:
    mask = torch.tensor([[2.0, 0.0], [2.0, 0.0]]).expand(2, 1, 2, 2)
    (batch,) = collate(Draw("own", 2, 0, 1000).samples([picture(0, mask=mask), picture(1)], 1))
    assert batch.mask is not None
    assert {tuple(one.flatten().tolist()) for one in batch.mask} == {(2.0, 0.0, 2.0, 0.0), (1.0,) * 4}


def test_dropped_captions_are_empty_in_about_their_share() -> None:
    use = CaptionUse(dropout=0.25)
    generator = torch.Generator().manual_seed(0)
    empty = sum(vary_caption("a, b", use, generator) == "" for _ in range(2000))
    assert 400 < empty < 600


def test_shuffling_keeps_the_first_part_and_every_other_one() -> None:
    use, generator = CaptionUse(shuffle=True, keep=1), torch.Generator().manual_seed(0)
    seen = {vary_caption("amira, a, b, c", use, generator) for _ in range(200)}
    assert len(seen) == 6
    assert all(text.startswith("amira, ") and sorted(text.split(", ")[1:]) == ["a", "b", "c"] for text in seen)


def test_offset_noise_moves_whole_channels() -> None:
    plain, shifted = (Draw("own", 1, 0, 1000, offset).samples([picture(0, (4, 64, 64))], 1)[0] for offset in (0.0, 0.5))
    assert plain.noise.mean(dim=(1, 2)).abs().max() < 0.06
    assert shifted.noise.mean(dim=(1, 2)).std() == pytest.approx(0.5, abs=0.4)
    assert torch.allclose(shifted.noise.std(dim=(1, 2)), torch.ones(4), atol=0.05)


def test_holdout_covers_every_photo_at_every_level_with_the_same_noise_each_time() -> None:
    batches, again = (holdout_batches([*PICTURES, picture(5, WIDE)], 8, 0, 1000) for _ in range(2))
    assert [len(batch) for batch in batches] == [8, 8, 4, 4]
    assert sorted({int(t) for batch in batches for t in batch.timesteps}) == [125, 375, 625, 875]
    assert all(torch.equal(a.noise, b.noise) for a, b in zip(batches, again, strict=True))
    assert all((batch.latents < 100).all() for batch in batches)  # never mirrored


def test_holdout_photos_have_their_own_noise_and_no_mask() -> None:
    """A loss that a mask or the batch's size moved could not be compared with another training's."""
    mask = torch.tensor([[2.0, 0.0], [2.0, 0.0]]).expand(2, 1, 2, 2)
    masked = [picture(number, mask=mask) for number in range(3)]
    batches = holdout_batches(masked, 5, 7, 1000)
    assert all(batch.mask is None for batch in batches)
    assert all(bool(batch.own.all()) for batch in batches)
    noise = torch.cat([batch.noise for batch in batches])
    assert len({tuple(one.flatten().tolist()) for one in noise}) == 12  # three photos at four levels
    captions = [caption for batch in batches for caption in batch.captions]
    assert captions == ["caption 0", "caption 1", "caption 2"] * 4
    small = torch.cat([batch.noise for batch in holdout_batches(masked, 2, 7, 1000)])
    assert torch.equal(small, noise)
    assert not torch.equal(torch.cat([batch.noise for batch in holdout_batches(masked, 5, 8, 1000)]), noise)


def test_class_images_are_drawn_in_an_order_of_their_own() -> None:
    shapes = (SMALL,) * 9
    assert draw_rows(shapes, 9, 1, 0, "own") != draw_rows(shapes, 9, 1, 0, "prior")
    own, prior = (Draw(name, 2, 0, 1000).samples(PICTURES, 1) for name in ("own", "prior"))
    assert [sample.own for sample in (*own, *prior)] == [True, True, False, False]
    assert not torch.equal(own[0].noise, prior[0].noise)


def test_a_caption_keeps_as_many_parts_in_place_as_it_is_told() -> None:
    generator = torch.Generator().manual_seed(1)
    for keep, ends in ((0, {"amira", "a", "b"}), (2, {"b", "c"})):
        use = CaptionUse(shuffle=True, keep=keep)
        seen = [vary_caption("amira, a,b , c", use, generator).split(", ") for _ in range(60)]
        assert all(sorted(parts) == ["a", "amira", "b", "c"] for parts in seen)
        assert {parts[-1] for parts in seen} >= ends
        assert all(parts[:keep] == ["amira", "a"][:keep] for parts in seen)
    assert vary_caption("a , b", None, generator) == vary_caption("a , b", CaptionUse(), generator) == "a , b"

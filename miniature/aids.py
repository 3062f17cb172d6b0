"""Training aids of the captioner and the CLIP: heads that teach a small vision transformer to see, then are dropped.

Every patch predicts the five landmarks relative to itself; every attribute is asked for.  Measured on the captioner:
captions alone, 77,000 augmented pictures: expression .24 (chance .25), class .57 (chance .50); with these heads and
untouched renders first (``augment.share_at``), 104,000 pictures: expression .76, class .88.
"""

import torch
from torch import nn
from torch.nn import functional

from miniature import render
from miniature.augment import SIZE

OPTIONS: dict[str, tuple[str, ...]] = {
    "class": ("woman", "man"), "expression": render.EXPRESSIONS, "eyewear": render.EYEWEAR, "hat": render.HATS,
    "hat_colour": render.COLOURS, "garment": render.GARMENTS, "garment_colour": render.COLOURS,
    "background": render.BACKGROUNDS, "framing": render.FRAMINGS, "light": render.LIGHTS,
}  # fmt: skip
NO_TARGET = -100


def attribute_codes(attributes: list[dict[str, str]]) -> torch.Tensor:
    """Attributes as option numbers: int64 (N, len(OPTIONS)); NO_TARGET for the colour of a hat that is not there."""
    rows = [
        [NO_TARGET if name == "hat_colour" and a["hat"] == "none" else options.index(a[name])
         for name, options in OPTIONS.items()]
        for a in attributes
    ]  # fmt: skip
    return torch.tensor(rows)


def attribute_heads(width: int) -> nn.ModuleList:
    """A linear classifier for every attribute."""
    return nn.ModuleList([nn.Linear(width, len(options)) for options in OPTIONS.values()])


def attribute_loss(heads: nn.ModuleList, features: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of attribute i read from ``features[:, i]`` (B, len(OPTIONS), width) by ``heads[i]``."""
    losses = [
        functional.cross_entropy(head(features[:, i]).float(), codes[:, i], ignore_index=NO_TARGET, reduction="sum")
        for i, head in enumerate(heads)
    ]
    return torch.stack(losses).sum() / (codes != NO_TARGET).sum()


class Aids(nn.Module):
    """A landmark head on every patch token and a classifier for every attribute."""

    centres: torch.Tensor  # (1, patches, 1, 2) px

    def __init__(self, token_width: int, feature_width: int, patch: int = 8) -> None:
        super().__init__()
        self.landmarks = nn.Linear(token_width, 10)
        self.attributes = attribute_heads(feature_width)
        steps = (torch.arange(SIZE // patch) + 0.5) * patch
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        self.register_buffer("centres", torch.stack([x, y], -1).reshape(1, -1, 1, 2), persistent=False)

    def landmark_loss(self, tokens: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        """Error of patch ``tokens`` (B, patches, width) about ``landmarks`` (B, 5, 2) in px, in half picture sides."""
        said = self.landmarks(tokens).float().unflatten(-1, (5, 2))
        true = (landmarks[:, None] - self.centres) / (SIZE / 2)
        return functional.smooth_l1_loss(said, true, beta=0.1)

    def attribute_loss(self, features: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """``attribute_loss`` with these heads."""
        return attribute_loss(self.attributes, features, codes)

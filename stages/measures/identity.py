"""How much pictures look like one person: raw cosines to references, and the ruler that gives them a meaning."""

from collections.abc import Sequence

import numpy as np

from stages.runtime.errors import UserError

SHORTEST_RULER = 0.05  # raw cosine; the ends of the ruler themselves are known no better than to a few hundredths


def similarities(embeddings: Sequence[np.ndarray | None], references: np.ndarray) -> np.ndarray:
    """Mean cosine of every picture to the references: float64 (N,), -1..1; 0 where no face was found.

    A picture without a face is a failure that counts, and 0 is what two unrelated faces have in common
    (ArcFace, arXiv:1801.07698: embeddings of different people are near orthogonal).

    Args:
        embeddings: unit vectors (D,), None where no face was found.
        references: unit vectors (R, D), R >= 1.
    """
    if len(references) == 0:
        raise ValueError("no references")
    centre = references.astype(np.float64).mean(axis=0)  # the mean of cosines is the cosine part of the mean vector
    return np.array([0.0 if e is None else float(e.astype(np.float64) @ centre) for e in embeddings])


def ruler(similarity: np.ndarray, base: float, real: float) -> np.ndarray:
    """Raw cosines on the likeness ruler: 0 where the base model without a LoRA stands, 100 where real photos stand.

    Linear, and not clipped: below 0 is less like the person than the base model, above 100 is copying.

    Args:
        similarity: raw cosines, any shape.
        base: mean similarity of the base model's pictures.
        real: mean similarity of training photos to holdout photos.

    Raises:
        UserError: when the judge hardly tells the person from the base model's faces.
    """
    if real - base < SHORTEST_RULER:
        raise UserError(
            "judges",
            f"real photos score {real:.3f} and the base model's pictures {base:.3f}, so likeness has no ruler",
            "check that the photos show one person whose face the judge finds",
        )
    return 100.0 * (np.asarray(similarity, dtype=np.float64) - base) / (real - base)


def pass_rate(similarity: np.ndarray, threshold: float) -> float:
    """Share of pictures at or above ``threshold``, 0..1."""
    return float(np.mean(np.asarray(similarity) >= threshold))

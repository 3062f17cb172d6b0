"""Names and numbers as the page shows them; a column that nobody named here is shown under its own name."""

from stages.reports.comparison import PERCENT, POINTS

NAMES = {
    "similarity": "Similarity, face pack", "second_similarity": "Similarity, second judge",
    "likeness": "Likeness, face pack", "second_likeness": "Likeness, second judge",
    "passed": "Pictures that pass", "face_found": "Face found", "texture_score": "Skin texture",
    "color_naturalness_score": "Skin colour", "realism_score": "Skin realism", "adherence": "Prompt adherence",
    "realism": "Skin realism",
    "prior_preservation": "Prior preservation", "similarity_mean": "Similarity, face pack",
    "second_similarity_mean": "Similarity, second judge", "similarity_sd": "Spread of similarity (sd)",
    "pass_rate": "Pictures that pass", "detection_rate": "Face found", "adherence_mean": "Prompt adherence",
    "holdout_loss": "Loss on holdout photos", "p_worse": "p of being worse than the best",
    "nearest_photo": "Closest training photo",
    "nearest_photo_mean": "Closeness to training photos", "closeness": "Closeness to it", "memorised": "Memorised",
    "base": "Base model", "mode": "Mode", "checkpoint": "Checkpoint", "guidance": "CFG", "sampler": "Sampler",
    "strength": "LoRA strength",
}  # fmt: skip
AGAIN = "confirm_"  # columns of the fresh seeds
SHARES = PERCENT | {name for share in ("pass_rate", "detection_rate") for name in (share, AGAIN + share)}


def name_of(column: str) -> str:
    """What a column or metric is called."""
    if column.startswith(AGAIN):
        return f"{name_of(column.removeprefix(AGAIN))}, fresh seeds"
    plain = column.replace("_", " ").strip()
    return NAMES.get(column, plain[:1].upper() + plain[1:])


def show_number(column: str, value: float | None, sign: str = "") -> str:
    """A value as people read it: shares in percent, ruler points with one decimal, all else with three."""
    if value is None:
        return "–"
    if column in SHARES:
        text = f"{100 * value:{sign}.0f}%"
    else:
        text = f"{value:{sign}.1f}" if column in POINTS else f"{value:{sign}.3f}"
    return text.replace("-", "−")


def show_interval(column: str, low: float | None, high: float | None, sign: str = "") -> str:
    """Both ends, or nothing."""
    if low is None or high is None:
        return ""
    return f"{show_number(column, low, sign)} to {show_number(column, high, sign)}"


def cut(text: str, most: int) -> str:
    """``text`` with an ellipsis where it was too long for the page."""
    return text if len(text) <= most else text[: most - 1] + "…"

"""Whether a training learns, read from its rate."""

PRODIGY_START = 1e-6  # prodigyopt's d0
PATIENCE = 0.1  # share of the steps after which Prodigy's d should have left its start
LEAST_GROWTH = 5.0
RUNAWAY = 0.02  # an effective rate that no LoRA stands for long


def judge_rate(step: int, steps: int, rate: float, d: float | None) -> str | None:
    """What is wrong with the rate at ``step`` of ``steps``; None when nothing is.

    Prodigy (arXiv:2306.06101) estimates the distance d to the solution from below, starting at 1e-6: a d that stays
    there moves nothing, and one that grows on and on destroys the model.

    Args:
        step: from 1.
        steps: of the whole training.
        rate: what the parameters move by (with Prodigy the scheduled rate times d).
        d: Prodigy's estimate; None for other optimizers.
    """
    if d is not None and step >= PATIENCE * steps and step >= 20 and d < LEAST_GROWTH * PRODIGY_START:
        return (
            f"Prodigy is not learning: d is {d:.2g} after {step} steps; raise train.optimizer.d_coef, "
            "or set train.optimizer.safeguard_warmup to false"
        )
    if rate > RUNAWAY:
        todo = "lower train.optimizer.d_coef" if d is not None else "lower train.optimizer.learning_rate"
        return f"the rate is running away: {rate:.2g} at step {step}; {todo}"
    return None

"""Is a picture good enough to be used?  Every objection is one line with rule, value and threshold."""

from collections.abc import Iterator

from stages.contracts.findings import gating_judge
from stages.contracts.policy import Policy
from stages.contracts.production import Scores
from stages.contracts.settings import Thresholds


def find_objections(
    scores: Scores, mode: str, thresholds: Thresholds, memorised_from: float, policy: Policy
) -> tuple[str, ...]:
    """Why a picture is rejected, each line beginning with the rule's name; empty when it is approved.

    Args:
        scores: of the picture.
        mode: how it was drawn; a judge whose embedding the generator was given does not decide.
        thresholds: all of them.
        memorised_from: closeness to a training photo above which a picture repeats it.
        policy: the threshold of the safety classifier.
    """
    return (
        *_safety(scores, policy),
        *_face(scores, mode, thresholds),
        *_prompt(scores, thresholds),
        *_copies(scores, thresholds, memorised_from),
    )


def rule_of(objection: str) -> str:
    """The rule's name, with which an objection begins."""
    return objection.partition(":")[0]


def _safety(scores: Scores, policy: Policy) -> Iterator[str]:
    if scores.safety is not None and scores.safety >= policy.threshold:
        yield f"safety: classifier {scores.safety:.4f}, not less than {policy.threshold:g} (policy.threshold)"


def _face(scores: Scores, mode: str, thresholds: Thresholds) -> Iterator[str]:
    limits = thresholds.batch
    if scores.faces == 0:
        yield "no face: none was found, 1 is needed"
        return  # what is measured on a face says nothing
    if scores.faces > limits.faces:
        yield f"several faces: {scores.faces}, more than {limits.faces} (thresholds.batch.faces)"
    if gating_judge(mode) == "second":
        value, least, name, who = scores.second_similarity, thresholds.second_pass, "second_pass", "second judge"
    else:
        value, least, name, who = scores.similarity, thresholds.face_pass, "face_pass", "face pack"
    if value < least:
        yield f"face: similarity {value:.4f} by the {who}, less than {least:g} (thresholds.{name})"
    if scores.realism < limits.realism:
        yield f"skin: realism {scores.realism:.4f}, less than {limits.realism:g} (thresholds.batch.realism)"
    if scores.sharpness < limits.sharpness:
        yield f"blur: sharpness {scores.sharpness:.4f}, less than {limits.sharpness:g} (thresholds.batch.sharpness)"


def _prompt(scores: Scores, thresholds: Thresholds) -> Iterator[str]:
    least = thresholds.batch.adherence
    if scores.adherence < least:
        yield f"prompt: adherence {scores.adherence:.4f}, less than {least:g} (thresholds.batch.adherence)"


def _copies(scores: Scores, thresholds: Thresholds, memorised_from: float) -> Iterator[str]:
    bits, alike = scores.nearest_bits, scores.nearest_similarity
    most, least = thresholds.batch.duplicate_bits, thresholds.batch.duplicate_similarity
    if bits is not None and alike is not None and bits <= most and alike >= least:
        yield (
            f"near-duplicate: {bits} bits and cosine {alike:.4f} from {scores.nearest_file}, within {most} and "
            f"{least:g} (thresholds.batch.duplicate_bits, duplicate_similarity)"
        )
    if scores.closeness is not None and scores.closeness > memorised_from:
        yield (
            f"memorised: closeness {scores.closeness:.4f} to training photo {scores.nearest_photo}, more than "
            f"{memorised_from:.4f} (thresholds.flags.closer_than {thresholds.flags.closer_than:g})"
        )

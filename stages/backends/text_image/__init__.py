"""Text-image judges: how well a picture follows its prompt."""

from stages.contracts.generation import TextImageJudge
from stages.contracts.settings import Judge, Machine


def open_text_image_judge(judge: Judge, machine: Machine) -> TextImageJudge:
    """CLIP from a local folder in transformers' layout.

    Raises:
        UserError: when the folder holds no CLIP model.
    """
    from stages.backends.text_image.clip import Clip

    return Clip(judge, machine)

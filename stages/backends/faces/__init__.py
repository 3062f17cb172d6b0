"""Face judges: find and embed faces.  Who judges is decided here; nothing heavy is imported until then."""

from stages.contracts.generation import FaceJudge, SecondJudge
from stages.contracts.settings import FacePack, Judge, Machine
from stages.runtime.errors import UserError

ONNX, RULES = "judge.onnx", "judge.json"


def open_face_judge(pack: FacePack, machine: Machine) -> FaceJudge:
    """The judge of an InsightFace model pack, a local folder.

    Raises:
        UserError: when the folder is missing or holds no pack.
    """
    from stages.backends.faces.insightface_pack import InsightFacePack

    return InsightFacePack(pack, machine)


def open_second_judge(judge: Judge, machine: Machine) -> SecondJudge:
    """The independent judge in the folder ``judge.path``; the files that it holds say of which kind it is.

    Raises:
        UserError: when the folder holds no judge of a known kind.
    """
    if not judge.path.is_dir():
        raise UserError(judge.path, "no such folder", "set judges.second.path to the folder of the second judge")
    match sorted(path.name for path in judge.path.iterdir()):
        case names if {ONNX, RULES} <= set(names):
            from stages.backends.faces.second import OnnxEmbedder

            return OnnxEmbedder(judge.path / ONNX, judge.path / RULES, machine)
        case names:
            held = ", ".join(names) or "nothing"
            raise UserError(judge.path, f"holds no second judge (it holds {held})", f"expected: {ONNX} with {RULES}")

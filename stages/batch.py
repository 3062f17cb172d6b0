"""Make pictures for use with a version's winning configuration, and file those that every judge lets pass.

`pistachio batch` says in words what `python -m stages.batch` takes from params.yaml.  It is no stage of dvc.yaml.

reads: data/manifest.json, data/subject.yaml, models/lora, metrics/sweep_choice.json or metrics/versions
writes: the folder of --output-dir, data/batches/ID when there is none
"""

from stages.contracts.policy import Policy
from stages.contracts.settings import (
    Batch,
    ComfyUI,
    Dataset,
    Judges,
    Promotion,
    Section,
    Thresholds,
    read_machine,
    read_params,
)
from stages.flows.production_batch import make_batch, prepare_job, stamp_batch
from stages.flows.production_prompts import Asked, settle
from stages.reports.batch import describe_outcome
from stages.reports.terminal import print_json
from stages.runtime.entry import run_stage


class Params(Section):
    """What decides the pictures of a batch, and which of them are approved."""

    dataset: Dataset
    batch: Batch
    comfyui: ComfyUI
    judges: Judges
    thresholds: Thresholds
    promotion: Promotion = Promotion()
    policy: Policy = Policy()


AS_SET = Asked()  # as params.yaml says


def main(asked: Asked = AS_SET, as_json: bool = False) -> None:
    params, machine = read_params(Params), read_machine()
    params = params.model_copy(update={"batch": settle(params.batch, asked)})
    batch, folder = make_batch(prepare_job(params, machine, asked), asked.output)
    finished = batch.state == "finished"
    if not finished:
        batch = stamp_batch(batch, folder)
    if as_json:
        print_json({"folder": folder.as_posix()} | batch.model_dump(mode="json"))
    else:
        print("\n".join(describe_outcome(batch, folder, again=finished)))


if __name__ == "__main__":
    run_stage(main)

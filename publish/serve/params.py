"""The sections of params.yaml that the service reads."""

from stages.contracts.settings import (
    Batch,
    ComfyUI,
    Dataset,
    Judges,
    Machine,
    Policy,
    Promotion,
    Publish,
    Section,
    Serve,
    Thresholds,
    read_params,
)


class Params(Section):
    """How pictures are drawn, gated, marked and served."""

    dataset: Dataset
    batch: Batch
    comfyui: ComfyUI
    judges: Judges
    thresholds: Thresholds
    promotion: Promotion = Promotion()
    policy: Policy = Policy()
    publish: Publish = Publish()
    serve: Serve = Serve()
    machine: Machine


class OnlyServe(Section):
    """What the commands about keys read."""

    serve: Serve = Serve()


def read_service_params() -> Params:
    """The workspace's settings; pictures are drawn one at a time, as they are asked for.

    Raises:
        UserError: naming every wrong key.
    """
    params = read_params(Params)
    return params.model_copy(update={"batch": params.batch.model_copy(update={"micro_batch": 1})})

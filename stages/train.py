"""Train the LoRA on the manifest's training photos, beside the class images, or take over one from elsewhere.

A killed training goes on where its state was last saved, with the same result.

reads: ${dataset.photos}, ${train.base}, data/manifest.json, data/regularization
writes: models/lora, metrics/loss.csv, metrics/train_samples.png
"""

from stages.backends.train import open_trainer
from stages.contracts.manifest import read_manifest
from stages.contracts.paths import LORA, LOSS, MANIFEST, TRAIN_SAMPLES
from stages.contracts.regularization import read_regularization
from stages.contracts.settings import Dataset, Section, Train, read_machine, read_params
from stages.flows.external import take_over
from stages.flows.permission import permit
from stages.flows.training import Target, follow, gather_examples, train_lora
from stages.runtime.entry import run_stage
from stages.runtime.processes import follows, spread


class Params(Section):
    """The sections of params.yaml that this stage depends on."""

    dataset: Dataset
    train: Train


def main() -> None:
    params, machine = read_params(Params), read_machine()
    permit(params.dataset, params.train.samples.prompts)
    target = Target(params.dataset, MANIFEST, LORA, LOSS, TRAIN_SAMPLES)
    if params.train.backend == "external":
        take_over(params.train, machine, target)
        return
    examples = gather_examples(params.dataset.photos, read_manifest(), read_regularization())
    trainer = open_trainer(params.train, machine)
    spread("stages.train", machine.processes)
    (follow if follows() else train_lora)(params.train, machine, trainer, examples, target)


if __name__ == "__main__":
    run_stage(main)

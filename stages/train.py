"""Train the LoRA on the manifest's training photos, beside the class images.

reads: ${dataset.photos}, ${train.base}, data/manifest.json, data/regularization
writes: models/lora, metrics/loss.csv
"""

from stages.backends.train import open_trainer
from stages.contracts.manifest import read_manifest
from stages.contracts.paths import LORA, LOSS, MANIFEST
from stages.contracts.regularization import read_regularization
from stages.contracts.settings import Dataset, Section, Train, read_machine, read_params
from stages.flows.training import Target, gather_examples, train_lora
from stages.runtime.entry import run_stage


class Params(Section):
    """The sections of params.yaml that this stage depends on."""

    dataset: Dataset
    train: Train


def main() -> None:
    params, machine = read_params(Params), read_machine()
    examples = gather_examples(params.dataset.photos, read_manifest(), read_regularization())
    trainer = open_trainer(params.train, machine)
    train_lora(params.train, trainer, examples, Target(params.dataset.name, MANIFEST, LORA, LOSS))


if __name__ == "__main__":
    run_stage(main)

"""Who trains: our loop over diffusers and peft, kohya's sd-scripts, or a class of the user's own."""

from stages.contracts.settings import Machine, Train
from stages.contracts.training import Trainer


def open_trainer(train: Train, machine: Machine) -> Trainer:
    """The trainer that ``train.backend`` names; a class of the user's own is called with these two arguments.

    Raises:
        UserError: when the settings contradict each other or the class is not usable.
    """
    match train.backend:
        case "diffusers":
            from stages.backends.train.loop import DiffusersTrainer

            return DiffusersTrainer(train, machine)
        case "kohya":
            from stages.backends.train.kohya import KohyaTrainer

            return KohyaTrainer(train, machine)
        case "external":
            raise AssertionError("flows.external takes the file over: nobody trains")
        case door:
            from stages.backends.door import load_class

            trainer: Trainer = load_class("train.backend", door)(train, machine)
            return trainer

"""Write down what the dataset is made of, photo by photo, and split it into training photos and references.

reads: ${dataset.photos}, data/captions
writes: data/manifest.json
"""

from stages.contracts.manifest import Manifest, write_manifest
from stages.contracts.paths import CAPTIONS
from stages.contracts.settings import Dataset, Section, read_machine, read_params
from stages.flows.dataset import build_manifest
from stages.runtime.entry import run_stage
from stages.runtime.errors import UserError


class Params(Section):
    """The sections of params.yaml that this stage depends on."""

    dataset: Dataset


def require_captions(manifest: Manifest) -> Manifest:
    """The manifest itself.

    Raises:
        UserError: when a photo has no caption, for it could not be trained on.
    """
    bare = [photo.filename for photo in manifest.images if not photo.caption_file]
    if bare:
        what = f"no caption for {len(bare)} of {len(manifest.images)} photos, the first is {bare[0]}"
        raise UserError(CAPTIONS, what, "run `dvc repro caption`")
    return manifest


def main() -> None:
    dataset, machine = read_params(Params).dataset, read_machine()
    write_manifest(require_captions(build_manifest(dataset.photos, CAPTIONS, dataset, machine.workers)))


if __name__ == "__main__":
    run_stage(main)

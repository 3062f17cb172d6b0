"""Write down what the dataset is made of, photo by photo, and split it into training photos and references.

The face pack counts faces and sees where they look; CLIP finds shots of one moment, which stay on one side of the
split.  What the photos lack of poses, expressions, light, framing and background is said as advice.

reads: ${dataset.photos}, ${judges.faces.path}, ${judges.text_image.path}, data/captions
writes: data/manifest.json
"""

from stages.contracts.manifest import Manifest, write_manifest
from stages.contracts.paths import CAPTIONS
from stages.contracts.settings import Dataset, Judges, Section, Thresholds, read_machine, read_params
from stages.flows.dataset import build_manifest
from stages.flows.permission import permit
from stages.flows.photo_facts import open_viewers
from stages.runtime.entry import run_stage
from stages.runtime.errors import UserError
from stages.runtime.provenance import require_unchanged, stamp_files


class Params(Section):
    """The sections of params.yaml that this stage depends on."""

    dataset: Dataset
    judges: Judges
    thresholds: Thresholds


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
    params, machine = read_params(Params), read_machine()
    permit(dataset := params.dataset)
    before = {folder: stamp_files(folder) for folder in (dataset.photos, CAPTIONS)}
    viewers = open_viewers(params.judges, machine, params.thresholds.coverage)
    manifest = require_captions(build_manifest(dataset.photos, CAPTIONS, dataset, machine.workers, viewers))
    for folder, stamps in before.items():
        require_unchanged(folder, stamps)
    write_manifest(manifest)


if __name__ == "__main__":
    run_stage(main)

"""Where every artifact lies, relative to the workspace (the folder the command is started in)."""

from pathlib import Path

PARAMS = Path("params.yaml")
CODE_LOCK = Path("code.lock")
REGISTRY = Path("conf/models")
SEEN = Path("models/seen.json")

SUBJECT = Path("data/subject.yaml")
REFUSALS = Path("logs/refusals.jsonl")
TAKEDOWN = Path("logs/takedown.md")

CAPTIONS = Path("data/captions")
MANIFEST = Path("data/manifest.json")
REGULARIZATION = Path("data/regularization")

LORA = Path("models/lora")
LOSS = Path("metrics/loss.csv")
TRAIN_SAMPLES = Path("metrics/train_samples.png")

SWEEP_IMAGES = Path("data/sweep")
SWEEP_SUMMARY = Path("metrics/sweep_summary.csv")
SWEEP_TOP10 = Path("metrics/top10_by_similarity.csv")
SWEEP_CHOICE = Path("metrics/sweep_choice.json")
SWEEP_MONTAGE = Path("metrics/sweep_montage.png")
SWEEP_PER_IMAGE = SWEEP_IMAGES / "per_image.csv"
CHECKPOINTS = Path("metrics/checkpoints.csv")

BATCHES = Path("data/batches")

EVAL_IMAGES = Path("data/eval")
PER_IMAGE = Path("metrics/per_image.csv")
SCORECARD = Path("metrics/scorecard.json")
REPORT = Path("metrics/report.md")
EVAL_MONTAGE = Path("metrics/eval_montage.png")
CALIBRATION = Path("metrics/calibration.json")

VERSIONS = Path("metrics/versions")
COMPARISON = Path("metrics/comparison.json")
COMPARISON_REPORT = Path("metrics/comparison_report.md")
REPORT_PAGE = Path("metrics/report.html")
HISTORY = Path("metrics/history.jsonl")
PUBLISHED = Path("data/published.jsonl")
REPLICAS = "replicas"  # in a version's folder: the same recipe trained with other seeds

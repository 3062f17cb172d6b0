"""Table [startup]: what a pod must have before it is READY."""

from dataclasses import dataclass
from pathlib import Path

CODE = Path(__file__).resolve().parents[1]
"""The folder that holds pod/: ``{code}`` in pod.toml."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment and what pip installs into it."""

    python: Path  # its interpreter; made with ``base`` when it is not there
    base: str = "python3.11"
    install: tuple[tuple[str, ...], ...] = ()  # arguments of pip install, one call after the other
    requirements: tuple[Path, ...] = ()  # files whose lines are installed too, where they exist
    leave_out: tuple[str, ...] = ()  # packages in those lines that are not
    files: tuple[Path, ...] = ()  # when one of these changes, pip runs again
    onnxruntime: str = ""  # "onnxruntime-gpu==X": installed last, alone; empty: what came


@dataclass(frozen=True)
class Repository:
    """A git repository at one commit."""

    name: str
    url: str
    commit: str


@dataclass(frozen=True)
class Model:
    """A file below ComfyUI's models/."""

    path: str
    url: str  # http(s), or a file of this machine
    sha256: str = ""  # empty: nobody has published it; what came first is remembered
    size: int = 0


@dataclass(frozen=True)
class Startup:
    """Table [startup]."""

    disk_gb: float = 60.0
    ready_s: float = 300.0
    supervise: bool = True  # ComfyUI runs under `pod watch`; false: as a plain process
    command: tuple[str, ...] = ()  # ComfyUI; {python} and {port} are filled in, started in its folder
    mirror: str = ""  # an address or a folder laid out as ComfyUI's models/
    profile: str = ""  # `pistachio models get --profile` fetches this one's weights; empty: none
    comfyui: Repository | None = None  # without a commit: the ComfyUI that is there stays as it is
    environments: dict[str, Environment] | None = None
    nodes: tuple[Repository, ...] = ()
    models: tuple[Model, ...] = ()

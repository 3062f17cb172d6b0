"""What the machine itself says: memory, disk, graphics cards, who listens on a port."""

import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

GIB = 2**30


@dataclass(frozen=True)
class Card:
    """One graphics card, as nvidia-smi describes it; memory in GiB."""

    name: str
    total_gib: float
    free_gib: float
    celsius: int
    driver: str


def read_cards() -> list[Card]:
    """The cards that nvidia-smi lists; none where it is not there or does not answer."""
    query = "name,memory.total,memory.free,temperature.gpu,driver_version"
    try:
        said = subprocess.run(
            ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"], capture_output=True, text=True,
            timeout=20, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    cards = []
    for line in said.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 5 and all(part.isdigit() for part in parts[1:4]):
            cards.append(Card(parts[0], int(parts[1]) / 1024, int(parts[2]) / 1024, int(parts[3]), parts[4]))
    return cards


def free_memory_gib() -> float | None:
    """Main memory that programs could still take, the container's limit counted; None where nobody says."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        cache = Path("/sys/fs/cgroup/memory.stat").read_text().splitlines()
        given_back = sum(int(line.split()[1]) for line in cache if line.startswith("inactive_file "))
        if limit.isdigit():
            free = min(free, int(limit) - used + given_back)
    except (OSError, ValueError):
        pass
    return free / GIB


def free_disk_gb(path: Path) -> float:
    """Room on the disk that ``path`` lies on, or would lie on."""
    place = path.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free / 1e9


def resident_gib(pid: int) -> float:
    """Main memory that a process holds; 0 where nobody says."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")) / GIB
    except (OSError, StopIteration):
        return 0.0


def is_taken(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""A fake pod tree: real git repositories and model files on loopback, tiny wheels, the ComfyUI double as the server."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pod_wheels import Repository, build_wheel
from web import Web, serve

from pod import keeper

ROOT = Path(__file__).parents[1]
MODELS = {
    "checkpoints/sd_xl_base_1.0.safetensors": os.urandom(300_000),
    "instantid/ip-adapter.bin": b"adapter" * 20_000,
    "controlnet/instantid/diffusion_pytorch_model.safetensors": b"control" * 30_000,
}
FRONTEND = "comfyui-frontend-package"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def toml(value: object) -> str:
    return json.dumps(value)  # strings, numbers and lists of strings are the same in TOML


class FakePod:
    """A bare machine (``folder``) and the world outside it: git, models, packages."""

    def __init__(self, folder: Path, web: Web, git_port: int) -> None:
        self.folder, self.world, self.web, self.git_port = folder / "pod", folder / "world", web, git_port
        self.url = f"http://127.0.0.1:{free_port()}"
        self.wheels = self.world / "wheels"
        self.comfyui, self.work = self.folder / "ComfyUI", self.folder / "work"
        self.repositories = {
            name: Repository(self.world / "git" / name) for name in ("ComfyUI", "InstantID", "IPAdapter")
        }
        self.publish()
        self.reset()

    def publish(self) -> None:
        for name, version in (
            (FRONTEND, "1.27.10"),
            ("einops", "0.8.2"),
            ("insightface", "2.1"),
            ("prodigyopt", "1.1.2"),
        ):
            module = name.replace("-", "_")
            many = {f"{module}/part{number}.py": f"x = {number}\n" * 50 for number in range(40)}
            build_wheel(self.wheels, name, version, {f"{module}/__init__.py": "", **many})
        for name in ("onnxruntime", "onnxruntime-gpu"):
            build_wheel(self.wheels, name, "1.31.1", {"onnxruntime/__init__.py": f"name = {name!r}\n"})
        self.commits = {
            "ComfyUI": self.repositories["ComfyUI"].commit(
                {"main.py": "", "requirements.txt": f"{FRONTEND}==1.27.10\neinops\n", ".gitignore": "models\nuser\n"}
            ),
            "InstantID": self.repositories["InstantID"].commit(
                {
                    "__init__.py": "",
                    "requirements.txt": "insightface\nonnxruntime\nonnxruntime-gpu; sys_platform == 'linux'\n",
                }
            ),
            "IPAdapter": self.repositories["IPAdapter"].commit({f"part{n}.py": "x = 1\n" * 99 for n in range(60)}),
        }
        for commit in self.repositories.values():
            commit.commit({"later.py": "not wanted\n"})
        self.web.files = {f"/{path}": body for path, body in MODELS.items()}

    def reset(self) -> None:
        """A bare machine again."""
        self.work.mkdir(parents=True, exist_ok=True)
        (self.work / "constraints.txt").write_text("prodigyopt==1.1.2\ninsightface==2.1\neinops==0.8.2\n")
        (self.work / "params.yaml").write_text("machine:\n  device: cpu\ntrain:\n  backend: x\n  version: v3\n")
        lora = self.work / "models/lora/v3.safetensors"
        lora.parent.mkdir(parents=True, exist_ok=True)
        lora.write_bytes(b"a trained LoRA")
        (self.work / "pod.toml").write_text(self.settings())

    def settings(self, **startup: object) -> str:
        pip = ["--no-index", f"--find-links={self.wheels}"]
        origin = f"git://127.0.0.1:{self.git_port}"
        server = [
            sys.executable,
            str(ROOT / "tests/comfyui/server.py"),
            "--port",
            "{port}",
            "--folder",
            str(self.comfyui),
        ]
        lines = [
            "[pod]", 'comfyui = "../ComfyUI"', f"comfyui_url = {toml(self.url)}",
            'comfyui_python = "../venv-comfyui/bin/python"', "[startup]", "disk_gb = 0.1", "ready_s = 60",
            f"command = {toml(server)}",
            *(f"{key} = {toml(value)}" for key, value in {"supervise": False, **startup}.items()),
            f'comfyui = {{name = "ComfyUI", url = "{origin}/ComfyUI", commit = "{self.commits["ComfyUI"]}"}}',
            "[startup.environments.pistachio]", 'python = ".venv/bin/python"', f"base = {toml(sys.executable)}",
            f"install = [{toml([*pip, '--constraint=constraints.txt', 'prodigyopt'])}]", 'files = ["constraints.txt"]',
            "requirements = []", "leave_out = []", 'onnxruntime = ""',
            "[startup.environments.comfyui]", 'python = "../venv-comfyui/bin/python"', f"base = {toml(sys.executable)}",
            f"install = [{toml([*pip, '--constraint=constraints.txt', 'insightface'])}]",
            'requirements = ["../ComfyUI/requirements.txt", "../ComfyUI/custom_nodes/InstantID/requirements.txt"]',
            'leave_out = ["onnxruntime", "onnxruntime-gpu"]', 'onnxruntime = "onnxruntime-gpu==1.31.1"',
            'files = ["constraints.txt"]',
        ]  # fmt: skip
        for name in ("InstantID", "IPAdapter"):
            lines += [
                "[[startup.nodes]]",
                f'name = "{name}"',
                f'url = "{origin}/{name}"',
                f'commit = "{self.commits[name]}"',
            ]
        for path, body in MODELS.items():
            sha256 = hashlib.sha256(body).hexdigest()
            lines += ["[[startup.models]]", f'path = "{path}"', f'url = "{self.web.address}/{path}"']
            lines += [f'sha256 = "{sha256}"', f"size = {len(body)}"]
        lines += ["[health]", "disk_gb = 0.1", "ram_gib = 0.1", "vram_gib = 0", "celsius = 200"]
        return "\n".join(lines) + "\n"

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "pod", *words[:1], "--config", "pod.toml", *words[1:]]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(self, *words: str) -> tuple[int, str]:
        done = subprocess.run(
            self.command(*words), cwd=self.work, env=self.environment, capture_output=True, text=True, timeout=900
        )
        return done.returncode, done.stdout + done.stderr

    def kill_after(self, seconds: float) -> bool:
        """Start `pod startup` and kill -9 it; False: it was done before, and all was well."""
        with (self.work / "killed.txt").open("w") as said, subprocess.Popen(
            self.command("startup"), cwd=self.work, env=self.environment, stdout=said, stderr=said
        ) as child:  # fmt: skip
            try:
                code = child.wait(seconds)
            except subprocess.TimeoutExpired:
                child.kill()
                return True
        assert code == 0, (self.work / "killed.txt").read_text()
        return False

    @property
    def server(self) -> dict[str, object] | None:
        return keeper.running(self.work / "logs/pod/comfyui.pid")

    def stop(self) -> None:
        """End the servers that were started here."""
        for name in ("watch.pid", "comfyui.pid", "pipeline.pid"):
            lock = self.work / "logs/pod" / name
            end = time.monotonic() + 20
            while (holder := keeper.running(lock)) and time.monotonic() < end:
                if holder["pid"]:
                    os.kill(int(holder["pid"]), signal.SIGKILL)
                time.sleep(0.05)

    def state(self) -> dict[str, str]:
        """Every file that matters with its hash: no logs, no caches, no times, git's commits instead of its insides."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            parts = path.relative_to(self.folder).parts
            skipped = {"killed.txt", "logs", "__pycache__", ".git", "temp", "user"} & set(parts)
            if path.name == "HEAD" and parts[-2] == ".git":
                found["/".join(parts)] = path.read_text()
            elif path.is_file() and not skipped:
                found["/".join(parts)] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found


@contextmanager
def open_pod(folder: Path) -> Iterator[FakePod]:
    """A fake pod whose git and model servers run until the block ends."""
    port = free_port()
    (folder / "world/git").mkdir(parents=True)
    command = ["git", "daemon", "--export-all", "--reuseaddr", f"--base-path={folder / 'world/git'}",
               "--listen=127.0.0.1", f"--port={port}"]  # fmt: skip
    with serve() as web, subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as daemon:
        pod = FakePod(folder, web, port)
        try:
            yield pod
        finally:
            pod.stop()
            os.killpg(daemon.pid, signal.SIGTERM)

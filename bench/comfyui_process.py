"""A ComfyUI of our own to measure: started from its folder with models from another, killed and started again."""

import argparse
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from bench.results_file import commit_of
from stages.backends.generate.comfyui.server import Server

ARGUMENTS = ("--cpu", "--force-fp32", "--fp32-text-enc", "--fp32-vae", "--disable-auto-launch")
START = 240.0  # seconds until it must answer


class ComfyProcess:
    """One server on 127.0.0.1; its log is ``folder/server.log`` across restarts."""

    def __init__(self, comfyui: Path, python: Path, folder: Path, port: int) -> None:
        self.comfyui, self.python, self.folder, self.port = comfyui.resolve(), python.absolute(), folder.resolve(), port
        self.process: subprocess.Popen[bytes] | None = None
        for name in ("models/checkpoints", "models/loras", "custom_nodes"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All that it ever said."""
        return (self.folder / "server.log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: when it does not.
        """
        command = [self.python, "main.py", *ARGUMENTS, "--listen", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*map(str, command), "--base-directory", str(self.folder)], cwd=self.comfyui, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + START
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urlopen(f"{self.url}/queue", timeout=5):
                    return
            except (URLError, OSError):
                time.sleep(0.5)
        raise RuntimeError(f"ComfyUI did not start: {self.log[-2000:]}")

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it; SIGKILL is the crash of a machine."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, how)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def link_checkpoint(server: ComfyProcess, file: Path, name: str) -> None:
    """Let a server see a checkpoint under a name, without a copy."""
    (server.folder / "models" / "checkpoints" / name).symlink_to(file.resolve())


def describe(server: ComfyProcess) -> dict[str, Any]:
    """Which ComfyUI runs, on what."""
    system = Server(server.url).stats()["system"]
    return {
        "version": system["comfyui_version"], "commit": commit_of(server.comfyui), "torch": system["pytorch_version"],
        "python": system["python_version"].split()[0],
    }  # fmt: skip


def open_comfyui(purpose: str | None, port: int) -> tuple[ComfyProcess, Path]:
    """The server that the command line names, with an emptied folder and not yet started, and the base's folder."""
    parser = argparse.ArgumentParser(description=purpose, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, required=True, help="a clone of ComfyUI")
    parser.add_argument("--python", type=Path, required=True, help="the Python that it runs with")
    parser.add_argument("--models", type=Path, required=True, help="folder with random_sdxl_0 in both forms")
    parser.add_argument("--work", type=Path, required=True, help="folder for the server's files; emptied first")
    parser.add_argument("--port", type=int, default=port)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    server = ComfyProcess(arguments.comfyui, arguments.python, arguments.work, arguments.port)
    base = arguments.models / "random_sdxl_0"
    return server, base

"""Draws with one or several ComfyUI servers; the picture of a request depends on nothing but the request."""

from collections.abc import Iterator, Sequence
from typing import get_args

import numpy as np

from stages.backends.generate.comfyui.deployment import Deployment, check_versions
from stages.backends.generate.comfyui.jobs import Job, Planner
from stages.backends.generate.comfyui.post import Post
from stages.backends.generate.comfyui.run import Run
from stages.backends.generate.comfyui.sent import SentFolder
from stages.backends.generate.comfyui.server import Server, Unreachable
from stages.contracts.generation import ImageRequest
from stages.contracts.settings import ComfyUI, Machine, Sampler
from stages.contracts.sweep_settings import MODES
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_json
from stages.runtime.state import cache_folder


class ComfyGenerator:
    """See contracts.generation.Generator."""

    modes = frozenset(MODES)
    samplers: frozenset[str] = frozenset(get_args(Sampler))

    def __init__(self, machine: Machine, settings: ComfyUI) -> None:
        self.machine, self.planner = machine, Planner(settings)
        self.deployments = [Deployment(Server(url), machine.comfyui_loras) for url in machine.comfyui_urls]

    @property
    def identity(self) -> str:
        """The workflows' hashes and the servers' versions.

        Raises:
            UserError: when a workflow cannot be read or no server answers.
        """
        workflows = [self.planner.workflow(mode).sha256 for mode in sorted(self.planner.settings.workflows)]
        return hash_json([workflows, sorted(self._versions())])

    def generate(self, requests: Sequence[ImageRequest]) -> Iterator[np.ndarray]:
        """Check every request and every server, then draw them as they are asked for.

        Raises:
            UserError: for a file, node or model that is missing, or when no server answers.
        """
        jobs = [self.planner.plan(request) for request in requests]
        if not jobs:
            return iter(())
        posts = self.prepare(jobs)
        sent = SentFolder(cache_folder(self.machine.state_dir) / "comfyui")
        return Run(posts, jobs, sent, self.machine.comfyui_patience).pictures()

    def prepare(self, jobs: Sequence[Job]) -> list[Post]:
        """Make every server that answers ready for ``jobs``; at least one must.

        Raises:
            UserError: naming what a server lacks, that they run different versions, or why none answers.
        """
        posts = []
        for deployment in self.deployments:
            post = Post(deployment)
            try:
                deployment.prepare(jobs)
                post.prepared = True
            except Unreachable as error:
                post.failed(error)
            posts.append(post)
        if not any(post.prepared for post in posts):
            raise _nobody_answers([post.why for post in posts])
        check_versions(post.deployment.version for post in posts if post.prepared)
        return posts

    def _versions(self) -> set[str]:
        """What the servers that answer run: pictures of two versions may differ.

        Raises:
            UserError: when none answers, or they run different versions.
        """
        versions, silent = set(), []
        for deployment in self.deployments:
            try:
                versions.add(deployment.read_version())
            except Unreachable as error:
                silent.append(f"{error.where}: {error.what}")
        if not versions:
            raise _nobody_answers(silent)
        check_versions(versions)
        return versions


def _nobody_answers(why: list[str]) -> UserError:
    return UserError(
        "machine.comfyui_urls", f"no ComfyUI server answers ({'; '.join(why)})", "start it, or name another"
    )

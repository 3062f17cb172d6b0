"""What pyproject.toml cannot say: conf/ and dvc.yaml, which lie beside the package, travel inside it."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

TEMPLATE = ("conf", "dvc.yaml")  # what `pistachio init` makes a workspace from (stages/flows/code.py)


class BuildWithTemplate(build_py):
    """build_py, then the template; an editable install reads it from the repository."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "stages" / "template"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name in TEMPLATE:
            if Path(name).is_dir():
                shutil.copytree(name, target / name)
            else:
                shutil.copyfile(name, target / name)


setup(cmdclass={"build_py": BuildWithTemplate})

"""What pyproject.toml cannot say: the scripts are modules of the package `pruning_mia`."""

from __future__ import annotations

from setuptools import setup
from setuptools.command.build_py import build_py

SCRIPTS = ("train", "run_experiment", "test_mia")


class WithScripts(build_py):
    """Adds them to the modules of the package's own folder."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        found: list[tuple[str, str, str]] = super().find_package_modules(package, package_dir)
        return found + [(package, name, f"{name}.py") for name in SCRIPTS if package == "pruning_mia"]


setup(cmdclass={"build_py": WithScripts})

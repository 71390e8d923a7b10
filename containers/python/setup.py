"""Everything is in pyproject.toml but this: wheels and sdists carry the module that protoc makes of worker.proto."""
import pathlib
import runpy

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

PACKAGE = pathlib.Path(__file__).resolve().parent / "src/xebec_worker"
protocol = runpy.run_path(str(PACKAGE / "protocol.py"))


def with_protocol(command):
    class Command(command):
        def run(self):
            protocol["refresh"]()
            super().run()

    return Command


setup(cmdclass={"build_py": with_protocol(build_py), "sdist": with_protocol(sdist)})

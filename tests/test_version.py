"""The version, also of a folder that was copied and not installed."""

import importlib.metadata

import limner
from limner.version import version


def test_the_installed_one():
    assert limner.__version__ == version() == importlib.metadata.version("limner")


def test_a_copied_folder_works(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert limner.__version__ == "unknown"

"""The examples in the docstrings of `features` and `models` give what they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from types import ModuleType
from typing import Final

import pytest

import features
import models

PACKAGES: Final = (features, models)


def _modules(package: ModuleType) -> list[str]:
    return [info.name for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]


def _n_examples(name: str) -> int:
    tests = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    return sum(len(test.examples) for test in tests)


WITH_EXAMPLES: Final = [name for package in PACKAGES for name in _modules(package) if _n_examples(name)]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_the_walk_reaches_the_whole_package(package: ModuleType) -> None:
    assert len(_modules(package)) > 25
    assert sum(name.startswith(f"{package.__name__}.") for name in WITH_EXAMPLES) > 10


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_give_what_they_show(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))

    assert result.attempted == _n_examples(name) > 0
    assert result.failed == 0

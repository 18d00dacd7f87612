"""Run the examples in the docstrings of all lenext modules."""

import doctest
from importlib import import_module
from pkgutil import walk_packages

import pytest

import lenext

MODULES = ["lenext", *(module.name for module in walk_packages(lenext.__path__, "lenext."))]
MODULES.remove("lenext.__main__")  # runs the command line when imported


def find_examples() -> list[doctest.DocTest]:
    """Return the docstrings with examples, module by module."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    tests = (test for name in MODULES for test in finder.find(import_module(name), name))
    return [test for test in tests if test.examples]


def test_docstring_examples_print_what_they_show(capsys: pytest.CaptureFixture[str]) -> None:
    examples = find_examples()
    runner = doctest.DocTestRunner()
    for example in examples:
        runner.run(example)
    assert len(examples) >= 5
    assert runner.failures == 0, capsys.readouterr().out

"""Measured times, and the memory there is."""

import time
from pathlib import Path

import psutil
import pytest
import torch

from lenext.foundation import memory
from lenext.foundation.timing import timed


def test_a_block_a_function_and_one_that_calls_itself() -> None:
    with timed() as timer:
        time.sleep(0.01)
    assert timer.seconds >= 0.01

    @timed("cpu")
    def twice() -> int:
        return 2

    assert twice() == 2
    again = timed()

    @again
    def down(number: int) -> None:
        if number:
            down(number - 1)

    down(2)
    assert len(again.times) == 3
    assert again.times == sorted(again.times)  # the outer ones took longer


def test_an_error_goes_on_its_way() -> None:
    timer = timed()
    with pytest.raises(KeyError), timer:
        raise KeyError
    assert len(timer.times) == 1


def test_available_memory_is_at_most_what_a_container_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert 0 < memory.available_bytes(cpu) <= psutil.virtual_memory().total
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 700000\ninactive_file 200000\n")
    assert memory.available_bytes(cpu) == 300_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_bytes(cpu) > 1_000_000

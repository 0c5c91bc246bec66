"""What a step frees stays with the process: its pages need not be made anew in the next one."""

import resource
import sys

import pytest
import torch

from src.build.device import keep_freed_memory


def faults_of_a_large_block() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(4 * 2**20)  # 16 MiB: 4,096 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone gives it back")
def test_freed_memory_is_used_again() -> None:
    keep_freed_memory()
    faults_of_a_large_block()
    assert faults_of_a_large_block() < 1000

"""What all tests of training share: one thread, since two of them spend a toy model's training on waiting for one another.

And a fit ends with a full collection of garbage, which need not look at all of torch again each time.
"""

import gc
from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.freeze()
    yield
    gc.unfreeze()
    torch.set_num_threads(threads)

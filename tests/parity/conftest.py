import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small models run slower with more threads than one, and other tests want the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

import pytest


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small models run slower with more threads than one, and other tests want the cores."""
    import torch  # not at the head: the bridge's mode is chosen before torch is imported

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

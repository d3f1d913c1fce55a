"""Names the fixtures; they live in tests/hpusim/fixtures.py and tests/contract/backends.py."""

from tests.contract.backends import backend
from tests.hpusim.fixtures import hpu, hpu_backend, simulator

__all__ = ["backend", "hpu", "hpu_backend", "simulator"]

"""Names the fixtures; they live in tests/hpusim/fixtures.py."""

from tests.hpusim.fixtures import hpu, hpu_backend, simulator

__all__ = ["hpu", "hpu_backend", "simulator"]

"""A tiny checkpoint and three utterances, for whatever runs a command."""

import pytest


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    from tests.helpers.checkpoints import write_checkpoint  # torch: not before options are read

    return str(write_checkpoint(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    from tests.helpers.speech import write_chapter

    root = tmp_path_factory.mktemp("corpus")
    write_chapter(root, {f"7-1-000{i}": "A WORD" for i in range(3)})
    return str(root)

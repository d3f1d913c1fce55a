"""``--simulate-hpu``: a simulated Gaudi for the whole session. The product knows nothing of it."""

import pytest

from w2v_core.pytest_plugin import prepare_device

CARDS = 2
"""Of the simulated machine."""


def pytest_addoption(parser):
    parser.getgroup("w2v").addoption(
        "--simulate-hpu",
        action="store_true",
        help="run hpu tests on a simulated Gaudi; its records never become a baseline",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Install before anything looks for a device; the bridge's environment is set before that."""
    if not config.getoption("--simulate-hpu"):
        return
    try:
        prepare_device("hpu", config, family="fork")  # the simulator has both modes

        from tests.hpusim.plugin import install_for_session

        install_for_session()
    except RuntimeError as error:  # a real bridge is loaded: DeviceError or SimError
        raise pytest.UsageError(str(error)) from error


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """List cards for ``--cards``, whose processes are the simulator's, before it looks for them."""
    if config.getoption("--simulate-hpu"):
        from tests.helpers.simulated_fleet import install

        install(CARDS)

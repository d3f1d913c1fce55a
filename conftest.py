"""Names the plugins; everything lives in them. Nothing here may import torch."""

from w2v_core.backends.hpu_environment import hold_bridge

hold_bridge()  # before any import of torch: the options choose the mode of the bridge, later

pytest_plugins = [
    "w2v_core.pytest_plugin",
    "w2v_core.pytest_modes",
    "w2v_core.pytest_cards",
    "tests.hpusim.simulate_option",
]

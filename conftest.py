"""Names the plugins; everything lives in them."""

pytest_plugins = ["w2v_core.pytest_plugin", "tests.hpusim.simulate_option"]

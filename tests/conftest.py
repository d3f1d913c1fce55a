"""What holds for all tests."""

from importlib.util import find_spec

if find_spec("hypothesis"):  # the suite itself, tests/validation, runs without it
    from hypothesis import HealthCheck, settings

    # A busy machine draws examples slowly, which is no fault of what is tested.
    settings.register_profile(
        "busy", settings.default, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("busy")

"""A pytest plugin: a host without compilers, whatever is installed.

It imports no torch: a session chooses its device before that.
"""

import os
import sys


def pytest_configure():
    """Hide OpenVINO from who looks for it, and the C++ compiler."""
    sys.modules["openvino"] = None
    os.environ["CXX"] = "no-such-compiler"

"""The picture of a report for the README: the top of a run's page, in light colours.

``python -m tests.pages.picture RUN OUT`` takes a run directory, or the JSON of --benchmark-json.
Needs chromium and nothing else: a page of plain ground and text is small as it comes.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from w2v_core.report.page import render_page
from w2v_core.verdict.run import load_run

WIDTH, HEIGHT = 1200, 1240  # CSS pixels
MAX_BYTES = 300_000


def shoot(page: Path, picture: Path, *, width: int, height: int, flags: tuple[str, ...] = ()):
    """Take a screenshot of the top of a page."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("no chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--user-data-dir={profile}",
                f"--window-size={width},{height}",
                f"--screenshot={picture}",
                *flags,
                page.as_uri(),
            ],
            capture_output=True,
            timeout=120,
            check=True,
        )


def main() -> None:
    """Draw the picture and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        page = Path(directory) / "page.html"
        page.write_text(render_page(load_run(arguments.run)), encoding="utf-8")
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        light = ("--blink-settings=preferredColorScheme=1",)
        shoot(page, arguments.out.absolute(), width=WIDTH, height=HEIGHT, flags=light)
    size = arguments.out.stat().st_size
    sys.stdout.write(f"{arguments.out}: {size} bytes\n")
    if size > MAX_BYTES:
        sys.exit(f"larger than {MAX_BYTES} bytes; reduce HEIGHT")


if __name__ == "__main__":
    main()

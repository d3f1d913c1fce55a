"""Make each environment with venv and pip, run the unit tests and the suite there, print a table.

    python3 -m tests.matrix [NAME ...] [--keep DIR] [--table FILE]

Needs python3.10 to python3.13 on PATH, and nothing but their standard libraries. pip's own
configuration says where packages come from. pytest.ini makes every warning an error. Ends with 1
where an environment is red or could not be made.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

from tests.matrix.environments import ENVIRONMENTS, Environment, Row, Tally, markdown

ROOT = Path(__file__).resolve().parents[2]
UNIT = ["tests/unit"]
SUITE = ["tests/validation", "--limit", "8"]


def main() -> int:
    """Run the chosen environments one after the other; return the exit code."""
    arguments = parse()
    rows: list[Row] = []
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    for environment in ENVIRONMENTS:
        if arguments.names and environment.name not in arguments.names:
            continue
        folder = Path(tempfile.mkdtemp(prefix=f"{environment.name}-", dir=arguments.keep))
        try:
            rows.append(measure(environment, folder))
        finally:
            if not arguments.keep:
                shutil.rmtree(folder)
        write(markdown(rows[-1:]).splitlines()[-1])
    table = markdown(rows)
    write(f"\n{table}")
    if arguments.table:
        with arguments.table.open("a", encoding="utf-8") as file:
            file.write(table)
    return 0 if all(row.is_green for row in rows) else 1


def write(text: str) -> None:
    """Show a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.matrix", description=__doc__)
    known = [environment.name for environment in ENVIRONMENTS]
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", help=f"of {', '.join(known)}; all by default")
    parser.add_argument("--keep", type=Path, help="leave the environments in this folder")
    parser.add_argument("--table", type=Path, help="append the table to this file")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names).difference(known)):
        parser.error(f"no environment is called {', '.join(unknown)}; there are {', '.join(known)}")
    return arguments


def measure(environment: Environment, folder: Path) -> Row:
    """Make the environment in ``folder`` and run both there."""
    begun = time.perf_counter()
    interpreter = find(environment.python)
    if interpreter is None:
        why_not = f"no python{environment.python} on PATH"
        return Row(environment=environment, versions={}, why_not=why_not)
    python = folder / "venv" / "bin" / "python"
    try:
        make(environment, interpreter, python)
    except subprocess.CalledProcessError as error:
        why_not = f"not made: {error.cmd[3]} ended with {error.returncode}"
        return Row(environment=environment, versions={}, why_not=why_not)
    versions = installed(python)
    return Row(
        environment=environment,
        python=subprocess.check_output([python, "-V"], text=True).split()[1],
        versions=versions,
        unit=run(python, UNIT, folder / "unit"),
        suite=run(python, [*SUITE, f"--reports-dir={folder / 'reports'}"], folder / "suite"),
        wall_s=time.perf_counter() - begun,
    )


def find(version: str) -> str | None:
    """Return an interpreter of this version; a shim that stands for none is none."""
    found = shutil.which(f"python{version}")
    if found is None or subprocess.run([found, "-V"], capture_output=True, check=False).returncode:
        return None
    return found


def make(environment: Environment, interpreter: str, python: Path) -> None:
    """Create the venv and install the project with its tests, as the README does."""
    subprocess.run([interpreter, "-m", "venv", python.parents[1]], check=True)
    pinned = ["-c", "constraints.txt"] if environment.pinned else []
    command = [python, "-m", "pip", "install", "--quiet", "-e", ".[test]", *pinned]
    subprocess.run([*command, *environment.requirements], cwd=ROOT, check=True)


def installed(python: Path) -> dict[str, str]:
    """Return the version of every package there."""
    listed = subprocess.check_output([python, "-m", "pip", "list", "--format=json"], text=True)
    return {row["name"].lower(): row["version"] for row in json.loads(listed)}


def run(python: Path, arguments: list[str], stem: Path) -> Tally:
    """Run pytest, leave its output in ``stem``.txt, and count what its JUnit file has."""
    junit = stem.with_suffix(".xml")
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={junit}"]
    with stem.with_suffix(".txt").open("w", encoding="utf-8") as output:
        done = subprocess.run(
            [*command, *arguments], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        write(stem.with_suffix(".txt").read_text(encoding="utf-8")[-4000:])
    return tally(junit, done.returncode)


def tally(junit: Path, status: int) -> Tally:
    """Count passed and failed tests of a JUnit file; none where pytest wrote none."""
    counts = {name: 0 for name in ("tests", "failures", "errors", "skipped")}
    if junit.is_file():
        for suite in ET.parse(junit).iter("testsuite"):
            for name in counts:
                counts[name] += int(suite.get(name, 0))
    failed = counts["failures"] + counts["errors"]
    passed = counts["tests"] - failed - counts["skipped"]
    return Tally(passed=passed, failed=failed, status=status)


if __name__ == "__main__":
    sys.exit(main())

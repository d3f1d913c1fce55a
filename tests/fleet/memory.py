"""What a decoded set costs N processes: ``python -m tests.fleet.memory N HOURS``. Reads all of it.

Prints the proportional set sizes (PSS) of N processes that map one file, above those without it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from w2v_core.data.catalog import Corpus, parse_dataset
from w2v_core.fleet.corpus import write_mapped
from w2v_core.types import SAMPLE_RATE_HZ, Utterance

READ = """
import sys, psutil
from pathlib import Path
from w2v_core.fleet.corpus import read_mapped
pss = lambda: psutil.Process().memory_full_info().pss
before = pss()
corpus = read_mapped(Path(sys.argv[1]))
total = sum(float(u.waveform.sum()) for u in corpus.utterances)
print("read", flush=True)
sys.stdin.readline()
print(pss() - before, flush=True)
sys.stdin.readline()
"""


def main() -> None:
    count, hours = int(sys.argv[1]), float(sys.argv[2])
    waveform = np.zeros(10 * SAMPLE_RATE_HZ, np.float32)
    utterances = tuple(
        Utterance(utterance_id=f"{i:06d}", waveform=waveform) for i in range(round(hours * 360))
    )
    ids = tuple(u.utterance_id for u in utterances)
    corpus = Corpus(spec=parse_dataset("test-clean"), utterances=utterances, expected=ids)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        size = write_mapped(corpus, Path(folder) / "set.f32")
        command = [sys.executable, "-c", READ, str(Path(folder) / "set.f32")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        readers = [subprocess.Popen(command, **pipes) for _ in range(count)]
        for reader in readers:
            reader.stdout.readline()
        found = []
        for reader in readers:  # all hold it while each is asked
            reader.stdin.write("\n")
            reader.stdin.flush()
            found.append(int(reader.stdout.readline()))
        for reader in readers:
            reader.communicate("\n")
    told = f"{count} processes, {size / 1e6:.0f} MB of audio: together {sum(found) / 1e6:.0f} MB"
    sys.stdout.write(f"{told}, {count * size / 1e6:.0f} MB in copies\n")


if __name__ == "__main__":
    main()

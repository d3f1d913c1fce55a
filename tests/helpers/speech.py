"""Synthetic waveforms and corpora on disk, in the formats that the loaders read."""

import io
import json
from pathlib import Path

import numpy as np
import soundfile

from w2v_core.types import SAMPLE_RATE_HZ


def voiced(num_samples, *, seed=0, rate_hz=SAMPLE_RATE_HZ):
    """A buzz with a few harmonics and a little noise: (S,) float32 within [-0.5, 0.5]."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(num_samples) / rate_hz
    pitch_hz = 100 + 20 * (seed % 5)
    buzz = sum(np.sin(2 * np.pi * pitch_hz * k * time_s) / k for k in range(1, 6))
    return (0.1 * buzz + 0.02 * rng.standard_normal(num_samples)).astype(np.float32)


def encode(waveform, *, rate_hz=SAMPLE_RATE_HZ, container="FLAC", subtype=None):
    """An audio file's bytes; ``waveform`` is (S,) or (S, channels)."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, rate_hz, format=container, subtype=subtype)
    return buffer.getvalue()


def write_chapter(root, utterances, *, suffix=".flac", chapter="7-1"):
    """Write ``{id: text}`` as one chapter in LibriSpeech's layout; return its folder.

    Each utterance is 0.1 s of another waveform.
    """
    folder = Path(root, *chapter.split("-"))
    folder.mkdir(parents=True)
    for seed, name in enumerate(utterances):
        data = encode(voiced(1600, seed=seed), container=suffix[1:].upper())
        (folder / f"{name}{suffix}").write_bytes(data)
    lines = "".join(f"{name} {text}\n" for name, text in utterances.items())
    (folder / f"{chapter}.trans.txt").write_text(lines, encoding="utf-8")
    return folder


def write_clips(folder, names, *, num_samples=8000):
    """Write WAVs of half a second and their manifest; return the dataset's name."""
    rows = []
    for seed, name in enumerate(names):
        path = folder / f"{name}.wav"
        path.write_bytes(encode(voiced(num_samples, seed=seed), container="WAV"))
        rows.append({"audio_filepath": str(path), "text": "one"})
    manifest = folder / "clips.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"manifest:{manifest}"


def hub_rows(count, *, start=0):
    """Rows as the hub's LibriSpeech parquet files hold them, FLAC bytes inside."""
    return [
        {
            "file": f"7-1-{i:04d}.flac",
            "audio": {"bytes": encode(voiced(1600, seed=i)), "path": f"7-1-{i:04d}.flac"},
            "text": f"UTTERANCE NUMBER {i}",
            "speaker_id": 7,
            "chapter_id": 1,
            "id": f"7-1-{i:04d}",
        }
        for i in range(start, start + count)
    ]


def write_parquet(path, rows):
    """Write rows as the hub's files are: bytes and path, called decodable audio in the metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "file": pa.string(),
        "audio": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        "text": pa.string(),
        "speaker_id": pa.int64(),
        "chapter_id": pa.int64(),
        "id": pa.string(),
    }
    features = {
        name: {"dtype": str(dtype), "_type": "Value"}
        for name, dtype in types.items()
        if name != "audio"
    }
    features["audio"] = {"sampling_rate": SAMPLE_RATE_HZ, "_type": "Audio"}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=pa.schema(types, metadata=metadata))
    pq.write_table(table, path, row_group_size=100)
    return path


def write_hub_cache(cache_dir, *, repository, files, commit="c" * 40):
    """Lay ``{path in the repository: rows}`` out as huggingface_hub's cache holds a snapshot."""
    root = Path(cache_dir, "datasets--" + repository.replace("/", "--"))
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    for path, rows in files.items():
        write_parquet(root / "snapshots" / commit / path, rows)
    return root / "snapshots" / commit

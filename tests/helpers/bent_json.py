"""JSON files as damage, other tools and malice leave them: odd bytes, odd values, cut and flipped.

What is planted into a record or a baseline is checksummed anew, so that it passes the first gate
and meets the code behind it.
"""

from __future__ import annotations

import copy
import json

from w2v_core.records.record import checksum

VALUES = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    -0.0,
    1e308,
    -1e308,
    5e-324,
    2**63,
    -(2**63) - 1,
    10**400,
    "",
    "x",
    "1",
    "\x1b[31mred\x1b[0m",
    "\u202egnp",
    "\ud800",
    "a\nb\rc\x00d\x9be",
    "N" * 100_000,
    [],
    [1],
    [[[]]],
    {},
    {"a": 1},
    {"\x1b]0;t\x07": {"\u2028": ["\u202e"]}},
]


def nested(levels, closed):
    return b"[" * levels + (b"]" * levels if closed else b"")


BYTES = [
    b"",
    b"null",
    b"0",
    b'"text"',
    b"[]",
    b"{}",
    b"\xff\xfe{}",
    b"\xef\xbb\xbf{}",
    b"\x00" * 1000,
    nested(200_000, closed=False),
    nested(200_000, closed=True),
    b'{"records":' * 50_000,
    b"9" * 10_000,
    b'{"records": [NaN]}',
    b'{"records": [1e999]}',
    b'{"records": [{"record": {}, "sha256": ""}]}',
    b'{"benchmarks": [3, null, {"extra_info": [1]}]}',
    b'{"benchmarks": [{"extra_info": {"record": []}}]}',
    b'{"records": [], "session": 3}',
]


def places(value, path=()):
    """Every place of a JSON value, as the path that leads to it."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def planted(value, path, mutant):
    """Return a copy with another value at a path; DROP takes the key out, RENAME renames it."""
    if not path:
        return mutant
    changed = copy.deepcopy(value)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    if mutant == "DROP":
        del inner[path[-1]]
    elif mutant == "RENAME" and isinstance(inner, dict):
        inner["\x1b\u202e" + str(path[-1])] = inner.pop(path[-1])
    else:
        inner[path[-1]] = mutant
    return changed


def signed_run(data):
    rows = data.get("records") if isinstance(data, dict) else None
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and isinstance(row.get("record"), dict):
            row["sha256"] = checksum(row["record"])
    return data


def signed_baseline(data):
    if isinstance(data, dict) and isinstance(data.get("baseline"), dict):
        cells = data["baseline"].get("cells")
        for rows in cells.values() if isinstance(cells, dict) else []:
            signed_run({"records": rows} if isinstance(rows, list) else {})
        data["sha256"] = checksum(data["baseline"])
    return data


def mutants(data, signed, generator, count):
    everywhere = list(places(data))
    top = [path for path in everywhere if len(path) <= 4]
    for i in range(count):
        path = generator.choice(top if i % 2 else everywhere)
        mutant = generator.choice([*VALUES, "DROP", "RENAME"])
        try:
            yield json.dumps(signed(planted(data, path, mutant))).encode(), (path, mutant)
        except (IndexError, KeyError):
            continue


def flipped(data, generator, count):
    for _ in range(count):
        bent = bytearray(data)
        for _ in range(generator.randint(1, 4)):
            at = generator.randrange(len(bent))
            kind = generator.randrange(3)
            if kind == 0:
                bent[at] ^= 1 << generator.randrange(8)
            elif kind == 1:
                del bent[at : at + generator.randint(1, 50)]
            else:
                bent[at:at] = generator.randbytes(generator.randint(1, 8))
        yield bytes(bent)

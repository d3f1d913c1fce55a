"""The documents as data: the commands of their blocks, their code spans, links and headings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = tuple(
    str(path.relative_to(ROOT))
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        ROOT / "reports" / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
    )
)
RUN_FILES = {
    *("run.json", "verdict.json", "summary.html", "summary.md", "summary.csv", "summary.parquet"),
    *("perf_metric.csv", "hypotheses.jsonl"),
}
"""What a run leaves behind; test_commands.py looks."""
CONTROL = {"&&", "||", ";", "|", "&"}
REDIRECTION = {">", ">>", "<", "2>"}
ASSIGNMENT = re.compile(r"\w+=")
FENCE = re.compile(r"^```(\S*)\s*$")
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Command:
    """A simple command of a document's block."""

    document: str
    line: int
    words: tuple[str, ...]
    number: int
    """Of the document's commands, from 1."""

    @property
    def program(self) -> str:
        return self.words[0].rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.document}:{self.line}-{self.number}-{'-'.join(self.words[:2])}"


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    document: str
    line: int
    language: str
    lines: tuple[str, ...]


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str) -> Iterator[Block]:
    """Yield the fenced blocks; a fence that is never closed is a broken document."""
    start, language, lines = 0, "", []
    for number, line in enumerate(read(document).splitlines(), start=1):
        fence = FENCE.match(line)
        if fence and start:
            yield Block(document, start, language, tuple(lines))
            start, lines = 0, []
        elif fence:
            start, language = number, fence.group(1)
        elif start:
            lines.append(line)
    assert not start, f"{document}:{start}: the block is not closed"


def prose(document: str) -> list[tuple[int, str]]:
    """Return the numbered lines outside of the blocks."""
    numbered, inside = [], False
    for number, line in enumerate(read(document).splitlines(), start=1):
        if FENCE.match(line):
            inside = not inside
        elif not inside:
            numbered.append((number, line))
    return numbered


def spans(document: str) -> list[tuple[int, str]]:
    """Return the code spans with their lines; a table's escaped bars are plain ones."""
    return [
        (number, span.replace("\\|", "|"))
        for number, line in prose(document)
        for span in SPAN.findall(line)
    ]


def links(document: str) -> list[tuple[int, str]]:
    """Return the targets of links and pictures with their lines."""
    return [(n, target) for n, line in prose(document) for target in LINK.findall(line)]


def anchors(document: str) -> set[str]:
    """Return the headings as GitHub spells them in a link."""
    titles = [line.lstrip("#") for _, line in prose(document) if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", t.strip().lower()).replace(" ", "-") for t in titles}


def commands(document: str) -> list[Command]:
    """Return every simple command of the blocks, those that another command is given included."""
    found: list[Command] = []
    for block in blocks(document):
        if block.language in ("sh", "console"):
            for line, text in _logical_lines(block):
                for outer in _simple_commands(text):
                    for words in (outer, *_inner(outer)):
                        found.append(Command(document, line, words, len(found) + 1))
    return found


def _logical_lines(block: Block) -> Iterator[tuple[int, str]]:
    """Join continued lines; of a console, only what follows the prompt is a command."""
    text, first = "", 0
    for number, line in enumerate(block.lines, start=block.line + 1):
        if block.language == "console" and not text:
            if not line.startswith("$ "):
                continue
            line = line.removeprefix("$ ")  # noqa: PLW2901
        first = first or number
        text += line.removesuffix("\\")
        if not line.endswith("\\"):
            yield first, text
            text, first = "", 0


def _simple_commands(line: str) -> Iterator[tuple[str, ...]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    redirected = False
    for token in (*lexer, ";"):
        if token in CONTROL:
            while words and ASSIGNMENT.match(words[0]):
                words.pop(0)
            if words:
                yield tuple(words)
            words = []
        elif token in REDIRECTION:
            redirected = True
        elif redirected:
            redirected = False
        else:
            words.append(token)


def _inner(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Find w2v commands that a container runs, or that pair and calibrate are told to run."""
    lines = [words[i + 1] for i, w in enumerate(words[:-1]) if w in ("--a", "--b", "--command")]
    found = []
    for candidate in (words, *(tuple(shlex.split(line)) for line in lines)):
        if candidate is not words or words[0] == "docker":
            places = [i for i, word in enumerate(candidate) if word.rpartition("/")[2] == "w2v"]
            found += [candidate[place:] for place in places[:1]]
    return found

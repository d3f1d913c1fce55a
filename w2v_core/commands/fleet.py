"""``w2v fleet``: every card of a machine or a cluster, a process each."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2v_core.commands import HELP
from w2v_core.commands.options import check_process, given
from w2v_core.commands.parser import INPUT_ERROR
from w2v_core.errors import ConfigError, ReportError
from w2v_core.options.option import Given, declare, options_of
from w2v_core.printable import printable
from w2v_core.progress import bars

if TYPE_CHECKING:
    from w2v_core.data.catalog import Corpus
    from w2v_core.fleet.cards import Card
    from w2v_core.fleet.process import Outcome
    from w2v_core.fleet.report import FleetRun
    from w2v_core.fleet.ways import Fleet, Runner

LOCK = ".fleet.lock"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``fleet`` and its flags."""
    parser = commands.add_parser(
        "fleet",
        help=HELP["fleet"],
        description="Measure on all cards, each in a process of its own with its share of the "
        "host's cores, and name the cards that are slower, hotter or wrong; or let the cards share "
        "each set. The corpus is decoded once. Leaves one run with a page of the cards.",
        epilog="Exit codes: 0 no card stands out, 1 one does, or a set was lost in part, "
        "2 INCONCLUSIVE, 3 wrong usage, unusable input or no card.",
    )
    declare("fleet", parser.add_argument)
    parser.set_defaults(handler=fleet, usage_error=INPUT_ERROR)


def fleet(arguments: argparse.Namespace) -> int:
    """Measure the fleet and print it; returns the verdict's exit code.

    Raises:
        ConfigError: a value is outside its limits; there are fewer cards, or fewer utterances.
        DeviceError: no card is there.
        ReportError: the reports cannot be written, or another fleet writes there.
    """
    from w2v_core.fleet.report import write_fleet
    from w2v_core.report.fleet import render_fleet_text

    options = given("fleet", arguments)
    raw = raw_options("fleet", arguments)
    with ExitStack() as stack:
        stack.enter_context(alone(options["reports_dir"]))
        run, directory = _measure(options, raw, stack)
        write_fleet(directory, run)
    text = (
        json.dumps(run.to_json())
        if options["json"]
        else render_fleet_text(run.to_json(), run.result)
    )
    sys.stdout.write(f"{text}\n")
    sys.stderr.write(f"reports: {printable(str(directory))}\n")
    return run.result.exit_code


def raw_options(command: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what argparse read of a command's options, for ``Job.options``."""
    dests = [option.on[command].dest for option in options_of(command).values()]
    return {dest: vars(arguments)[dest] for dest in dests}


def _measure(options: Given, raw: dict[str, Any], stack: ExitStack) -> tuple[FleetRun, Path]:
    """Find the cards, decode the sets once, measure in the way that was asked for."""
    from w2v_core.fleet.cards import find_cards
    from w2v_core.fleet.over_ray import seats
    from w2v_core.fleet.process import run_job, stoppable

    sets = sets_of(options)
    asked = (options["device"], options["cards"])
    if options["address"] is None:
        cards = find_cards(*asked)
        run: Callable[..., Outcome] = partial(run_job, silence_s=options["timeout"])
    else:
        opened = seats(options["address"], *asked, silence_s=options["timeout"])
        cards, run = stack.enter_context(opened)
    run = partial(run, stop=stack.enter_context(stoppable()))  # behind Ray's own of SIGTERM
    directory = reserve_run(options, f"{cards[0].device}-fleet")
    with gone_if_refused(directory):
        made, corpora = make_fleet(options, raw, cards, run, directory, sets=sets, stack=stack)
        if options["way"] == "shard":
            _refuse_small(corpora, len(cards))
    return _ways(options, made, corpora), directory


def sets_of(options: Given) -> list[str]:
    """Return the sets of the cells that are asked for; what is wrong with those is an error now."""
    from w2v_core.options.cells import cells_of

    return sorted({c.dataset for c in cells_of(options, measures_graphs=lambda _: True)})


def make_fleet(
    options: Given,
    raw: dict[str, Any],
    cards: tuple[Card, ...],
    run: Runner,
    directory: Path,
    *,
    sets: list[str],
    stack: ExitStack,
) -> tuple[Fleet, dict[str, Corpus]]:
    """Decode the sets for all cards, until the stack is closed; returns the fleet and the sets."""
    from w2v_core.fleet.ways import Fleet

    front_end = options.front_end
    decoded = decode_once(sets, options, directory, stack)
    made = Fleet(
        cards=cards,
        directory=directory,
        front_end=front_end,
        options=raw,
        command=shlex.join(["w2v", *sys.argv[1:]]),
        run=run,
        report=partial(tell, who=front_end),
        corpora={name: str(path) for name, (path, _) in decoded.items()},
        rounds=options["rounds"],
    )
    made.report(f"{len(cards)} cards: {', '.join(map(str, cards))}; in {directory}")
    return made, {name: corpus for name, (_, corpus) in decoded.items()}


def _ways(options: Given, made: Fleet, corpora: dict[str, Corpus]) -> FleetRun:
    from w2v_core.fleet import ways
    from w2v_core.fleet.dealing import measure_shards, merged, moved
    from w2v_core.fleet.report import FleetRun
    from w2v_core.fleet.verdict import judge_cards

    way: str = options["way"]
    known = partial(FleetRun, way=way, cards=made.cards)
    if way == "shard":
        dealing = measure_shards(made)
        outcomes = {str(card): dealing.of(card) for card in made.cards}
        records = merged(made, dealing, corpora)
        return known(outcomes=outcomes, merged=records, notes=tuple(moved(dealing)))
    if way == "each":
        outcomes = ways.measure_each(made, runs=options["runs"])
        judged = judge_cards(outcomes)
        return known(outcomes=outcomes, judged=judged, again=ways.measure_again(made, judged))
    alone, together = ways.measure_together(made, runs=options["runs"])
    judged = judge_cards(alone)
    return known(
        outcomes={card: [*runs, *together[card]] for card, runs in alone.items()},
        judged=judged,
        again=ways.measure_again(made, judged),
        costs=ways.shared_costs(alone, together),
    )


def reserve_run(options: Given, name: str) -> Path:
    """Reserve the directory of a run of many cards."""
    from w2v_core.records.fingerprint import source_commit
    from w2v_core.records.store import new_run_id, reserve

    run_id = new_run_id(datetime.now(timezone.utc), device=name, commit=source_commit()[0])
    return reserve(options["reports_dir"], release=options["release"], run_id=run_id)


@contextmanager
def gone_if_refused(directory: Path) -> Iterator[None]:
    """Take a run's directory away where something is wrong before a card has measured."""
    try:
        yield
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def decode_once(
    names: list[str], options: Given, directory: Path, stack: ExitStack
) -> dict[str, tuple[Path, Corpus]]:
    """Decode each set into a file that all processes map; gone when the fleet is done."""
    from w2v_core.data.catalog import load, parse_dataset
    from w2v_core.fleet.corpus import read_mapped, write_mapped

    found = {}
    for number, name in enumerate(names):
        corpus = load(
            parse_dataset(name),
            limit=options["limit"],
            allow_partial=options["allow_partial"],
            progress=bars,
        )
        path = (directory / f"corpus-{number}.f32").absolute()
        for file in (path, path.with_suffix(".json")):
            stack.callback(file.unlink, missing_ok=True)
        size = write_mapped(corpus, path)
        told = f"{name}: {len(corpus.utterances)} utterances, {size / 1e6:.1f} MB for all cards"
        tell(told, who=options.front_end)
        found[name] = (path, read_mapped(path))
    return found


def _refuse_small(corpora: dict[str, Corpus], cards: int) -> None:
    for name, corpus in corpora.items():
        count = len(corpus.utterances)
        if count < cards:
            raise ConfigError(
                f"{name} has {count} utterances for {cards} cards to share; use at most "
                f"--cards {count}, or --way each"
            )


@contextmanager
def alone(reports_dir: Path) -> Iterator[None]:
    """Refuse a second fleet on a reports directory: its cards would be shared, and its speed.

    The system lets go of the lock of a process that is killed.
    """
    from w2v_core.records.store import as_report_error

    check_process()  # each card's process would end in it
    with as_report_error(reports_dir):
        reports_dir.mkdir(parents=True, exist_ok=True)
        file = (reports_dir / LOCK).open("a+")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise ReportError(
                f"another fleet ({file.read().strip() or 'unknown'}) writes to {reports_dir}; wait "
                "for it, or {use:reports_dir DIR} to give another"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} of {platform.node()}")
        file.flush()
        yield


def tell(line: str, *, who: str) -> None:
    """Say on stderr how far it is."""
    sys.stderr.write(f"{who}: {printable(line)}\n")

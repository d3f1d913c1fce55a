"""The options of a fleet: which cards, in which way."""

from __future__ import annotations

from w2v_core.config import parse_share
from w2v_core.options.option import PYTEST, Option
from w2v_core.options.rows import counted, listed, measured, on, placed, worded

_MOST_HOURS = 1e5
WAYS = ("each", "shard", "together")

FLEET: tuple[Option, ...] = (
    worded(
        "cards",
        metavar="CARDS",
        default="all",
        help="all (default), the first N, or a list such as 0,2,5: module ids of Gaudi, indices of "
        "CUDA; of a host, processes that share its cores, all being one a NUMA node",
        on={
            **on("--cards", "fleet", "soak"),
            **on(
                "--cards",
                PYTEST,
                default=None,
                help="measure the cells on many cards, by w2v "
                "fleet and instead of the session: all, the first N, or a list such as 0,2,5",
            ),
        },
    ),
    Option(
        name="shard",
        parse=parse_share,
        metavar="I/N",
        help="measure the I-th of N shards of the set, for w2v merge; auto: the one that torchrun, "
        "mpirun, srun or an indexed Kubernetes job numbers",
        on=on("--shard", "run"),
    ),
    listed(
        "way",
        WAYS,
        default="each",
        help="each (default): every card measures every cell, and cards that are slow, hot or "
        "wrong are named; shard: the cards share each set; together: each alone, then all at once",
        on=on("--way", "fleet"),
    ),
    counted(
        "runs",
        default=1,
        metavar="N",
        help="fresh processes a card, which tell how much a card varies (default 1: cards are held "
        "against the spread of the others)",
        on=on("--runs", "fleet"),
    ),
    worded(
        "address",
        metavar="ADDRESS",
        help="over Ray: local, or ray://HOST:PORT of a cluster (extra fleet)",
        on=on("--address", "fleet"),
    ),
    counted(
        "passes",
        metavar="N",
        help="so many passes over all cells, 20 at least: levels are tested over them",
        on=on("--passes", "soak"),
    ),
    measured(
        "hours",
        most=_MOST_HOURS,
        metavar="H",
        help="begin passes for so many hours",
        on=on("--hours", "soak"),
    ),
    placed(
        "resume",
        metavar="DIR",
        help="go on with a soak that was interrupted or killed, its cells and options; --passes or "
        "--hours set another end, counted from its beginning",
        on=on("--resume", "soak"),
    ),
)

"""Train a canary: `python -m tests.canary.train --family base --corpus ... --dev ...`.

One process uses one thread. The schedule runs by wall clock, so a run is not repeatable bit for
bit; the weights that ship are the ones that were committed.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Wav2Vec2ForCTC

from tests.canary.architecture import BLANK, FAMILIES, Family, build
from tests.canary.batches import IGNORED, Batch, Corpus, batches, load_corpus
from tests.canary.evaluate import hypotheses, read_set, word_error_rate
from w2v_core.types import SAMPLE_RATE_HZ, Utterance

LOG = logging.getLogger(__name__)
PHONE_LAYER = 2  # hidden state that the auxiliary phoneme head reads
SHORT_S, SHORT_SHARE = 4.5, 0.03  # the first updates see short utterances only
MIN_LR_SHARE = 0.01
LOG_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that the command line sets."""

    family: Family
    corpus: list[Path]
    dev: Path
    out: Path
    init: Path | None
    minutes: float
    checkpoint_minutes: float
    batch_s: float
    learning_rate: float
    warm_up: int
    seed: int


class Trainer:
    """A model, its auxiliary phoneme head and their optimiser."""

    def __init__(self, recipe: Recipe, *, num_phones: int) -> None:
        """Build, or read the weights of, the model."""
        self.recipe = recipe
        self.model = build(recipe.family)
        if recipe.init is not None:
            weights = Wav2Vec2ForCTC.from_pretrained(recipe.init).float()
            self.model.load_state_dict(weights.state_dict())
        hidden = self.model.config.hidden_size
        self.phone_head = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, num_phones))
        parameters = [*self.model.parameters(), *self.phone_head.parameters()]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.01},
                {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=recipe.learning_rate,
            betas=(0.9, 0.98),
        )
        self.updates = 0
        self.model.train()

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the CTC loss per target character and the phoneme cross-entropy per frame."""
        mask = torch.from_numpy(batch.mask) if self.recipe.family == "large" else None
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = self.model(
                torch.from_numpy(batch.waves), attention_mask=mask, output_hidden_states=True
            )
            phones = self.phone_head(output.hidden_states[PHONE_LAYER])
        log_probs = output.logits.float().log_softmax(-1).transpose(0, 1)
        lengths = torch.tensor([len(target) for target in batch.targets])
        flat = torch.tensor([token for target in batch.targets for token in target])
        frames = torch.tensor(batch.frames)
        ctc = functional.ctc_loss(
            log_probs, flat, frames, lengths, blank=BLANK, reduction="sum", zero_infinity=True
        )
        labels = torch.from_numpy(batch.phones).flatten()
        phone = functional.cross_entropy(phones.float().flatten(0, 1), labels, ignore_index=IGNORED)
        return ctc / lengths.sum(), phone

    def update(self, batch: Batch, *, progress: float) -> tuple[float, float]:
        """Take one optimiser step; `progress` is the share of the wall time that is over."""
        warm = min(1.0, (self.updates + 1) / self.recipe.warm_up)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        for group in self.optimiser.param_groups:
            share = MIN_LR_SHARE + (1 - MIN_LR_SHARE) * cosine
            group["lr"] = self.recipe.learning_rate * warm * share
        ctc, phone = self.losses(batch)
        loss = ctc + max(0.1, 1 - 1.5 * progress) * phone
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.updates += 1
        return ctc.item(), phone.item()


def stream(corpus: Corpus, recipe: Recipe, *, rng: random.Random, clock: Clock) -> Iterator[Batch]:
    """Yield batches until the wall time is over."""
    while clock.progress < 1:
        short = recipe.init is None and clock.progress < SHORT_SHARE
        limit = SHORT_S if short else 30.0
        for batch in batches(corpus, batch_s=recipe.batch_s, max_s=limit, rng=rng):
            yield batch
            if clock.progress >= 1 or (short and clock.progress >= SHORT_SHARE):
                break


class Clock:
    """Wall time of the run."""

    def __init__(self, minutes: float) -> None:
        """Start now."""
        self._start, self._total_s = time.monotonic(), minutes * 60

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    @property
    def progress(self) -> float:
        """Share of the planned time that is over."""
        return self.elapsed_s / self._total_s


def checkpoint(trainer: Trainer, dev: Sequence[Utterance], *, name: str, clock: Clock) -> None:
    """Save the model, score it on the dev set and append to `history.jsonl`."""
    out = trainer.recipe.out
    trainer.model.save_pretrained(out / name)
    trainer.model.eval()
    said = hypotheses(trainer.model, dev)
    trainer.model.train()
    rate = word_error_rate(dev, said)
    row = {"name": name, "elapsed_s": clock.elapsed_s, "updates": trainer.updates, "dev_wer": rate}
    with (out / "history.jsonl").open("a", encoding="utf-8") as history:
        history.write(json.dumps(row) + "\n")
    LOG.info("dev WER %.2f %% at %s", 100 * rate, name)


def train(recipe: Recipe) -> None:
    """Train until the wall time is over."""
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    corpus, dev = load_corpus(recipe.corpus), read_set(recipe.dev)
    recipe.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(recipe, num_phones=corpus.num_phones)
    clock = Clock(recipe.minutes)
    logged, saved, seen = 0.0, 0, 0.0
    ctc_sum = phone_sum = count = 0.0
    for batch in stream(corpus, recipe, rng=rng, clock=clock):
        ctc, phone = trainer.update(batch, progress=clock.progress)
        ctc_sum, phone_sum, count = ctc_sum + ctc, phone_sum + phone, count + 1
        seen += batch.mask.sum() / SAMPLE_RATE_HZ
        if clock.elapsed_s - logged > LOG_S:
            speed = seen / clock.elapsed_s
            LOG.info(
                "%5.1f min, update %d: ctc %.3f phone %.3f, %.0f x real time",
                clock.elapsed_s / 60,
                trainer.updates,
                ctc_sum / count,
                phone_sum / count,
                speed,
            )
            logged, ctc_sum, phone_sum, count = clock.elapsed_s, 0.0, 0.0, 0.0
        if clock.elapsed_s > (saved + 1) * recipe.checkpoint_minutes * 60:
            saved += 1
            checkpoint(trainer, dev, name=f"checkpoint-{saved:02d}", clock=clock)
    checkpoint(trainer, dev, name="final", clock=clock)


def parse_recipe(argv: Sequence[str] | None = None) -> Recipe:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", choices=FAMILIES, required=True)
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    for name in ("--dev", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--init", type=Path, help="checkpoint to go on from, weights only")
    parser.add_argument("--minutes", type=float, default=65.0)
    parser.add_argument("--checkpoint-minutes", type=float, default=6.0)
    parser.add_argument("--batch-s", type=float, default=16.0)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--warm-up", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    return Recipe(**vars(parser.parse_args(argv)))


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(parse_recipe())


if __name__ == "__main__":
    main()

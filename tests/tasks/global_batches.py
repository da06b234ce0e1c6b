"""The same global batches for every task, as any number of ranks and micro-batches.

Usage, in each of several processes: python -m tests.tasks.global_batches FOLDER
"""

import os
import sys
from itertools import count
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from ltsft.callbacks import Phase, SparseMaskCallback
from ltsft.sparse import Budget, Compact, DiffPruning, FisherInformation, Hold, Masked, Selection
from ltsft.tasks import MaskedLM, Parser, QuestionAnswering, SentenceClassifier, Tagger
from tests.callbacks.plain import trainer, values

NUM_RANKS = int(os.environ.get("WORLD_SIZE", 1))
RANK = int(os.environ.get("LOCAL_RANK", 0))
DDP = {"strategy": "ddp", "devices": NUM_RANKS} if NUM_RANKS > 1 else {}

_NUMBERS = count()
LABELS = ["A", "B", "C"]
NUM_EXAMPLES, STEPS, RATE, CLIP, NUM_PARAMS = 12, 6, 1e-2, 0.5, 60
TASKS = {
    "masked tokens": lambda base: MaskedLM(base_model=base, learning_rate=RATE),
    "tags": lambda base: Tagger(labels=LABELS, base_model=base, learning_rate=RATE),
    "trees": lambda base: Parser(labels=LABELS, base_model=base, learning_rate=RATE, dropout=0.0),
    "pairs": lambda base: SentenceClassifier(labels=LABELS, base_model=base, learning_rate=RATE),
    "answers": lambda base: QuestionAnswering(base_model=base, learning_rate=RATE),
}


def global_batches(name: str, num: int = STEPS) -> list[dict[str, torch.Tensor]]:
    """Of 12 examples, of which the later ones have less to score, the first micro-batch nothing."""
    generator = torch.Generator().manual_seed(7)

    def draw(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=generator)

    def some(values: torch.Tensor, instead: int, share: float) -> torch.Tensor:
        """Fewer and fewer of an example's values, and none of the first ones'."""
        shares = torch.linspace(share, 0, NUM_EXAMPLES).view(-1, *[1] * (values.dim() - 1))
        keep = torch.rand(values.shape, generator=generator) < shares
        keep[: NUM_EXAMPLES // 6] = False
        return values.where(keep, instead)

    batches = []
    for _ in range(num):
        ids = draw(5, 60, NUM_EXAMPLES, 12)
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if name == "masked tokens":
            batch["labels"] = some(ids, -100, 0.5)
            batch["input_ids"] = ids.where(batch["labels"] == -100, 4)
        elif name == "tags":
            batch["word_starts"] = torch.arange(1, 9).repeat(NUM_EXAMPLES, 1)
            batch["labels"] = some(draw(0, 3, NUM_EXAMPLES, 8), -1, 0.8)
        elif name == "trees":
            batch["word_ids"] = torch.arange(-1, 11).repeat(NUM_EXAMPLES, 1)
            batch["num_encoded"] = torch.full((NUM_EXAMPLES,), 11)
            # Some relations are outside the inventory.
            batch["heads"] = some(draw(0, 12, NUM_EXAMPLES, 11), -1, 0.8)
            batch["relations"] = draw(-1, 3, NUM_EXAMPLES, 11)
        elif name == "pairs":
            batch["token_type_ids"] = (torch.arange(12) > 6).long().repeat(NUM_EXAMPLES, 1)
            batch["labels"] = some(draw(0, 3, NUM_EXAMPLES), -100, 1.5)
        else:
            batch["token_type_ids"] = (torch.arange(12) > 4).long().repeat(NUM_EXAMPLES, 1)
            batch["start_positions"] = some(draw(5, 8, NUM_EXAMPLES), -100, 1.5)
            missing = batch["start_positions"] < 0
            batch["end_positions"] = (batch["start_positions"] + 2).masked_fill(missing, -100)
        batches.append(batch)
    return batches


def micro_batches(
    batches: list[dict[str, torch.Tensor]], accumulate: int
) -> list[dict[str, torch.Tensor]]:
    """This rank's."""
    return [
        {key: value.chunk(accumulate * NUM_RANKS)[i * NUM_RANKS + RANK] for key, value in b.items()}
        for b in batches
        for i in range(accumulate)
    ]


def fit(
    name: str,
    base: str,
    accumulate: int = 1,
    hold: Hold | None = None,
    selection: Selection | None = None,
    l1: float = 0.0,
    num_left_out: int = 0,
    **settings,
) -> dict[str, object]:
    """Both phases of a task in float64: θ⁰, θ², the mask, and scores on the same data.

    Args:
        name: Of the task.
        base: Folder of the pretrained model, without dropout.
        accumulate: Micro-batches of a step.
        hold: How entries are held.
        selection: Which entries are chosen.
        l1: λ.
        num_left_out: Micro-batches that the last step of a pass does without.
        **settings: Of the Trainer.
    """
    torch.manual_seed(0)
    task = TASKS[name](base).double()
    before = values(task.model)
    sft = SparseMaskCallback(
        Budget(num_params=NUM_PARAMS),
        dense=Phase(max_steps=STEPS, l1=l1),
        sparse=Phase(max_steps=STEPS, l1=l1),
        selection=selection,
        hold=hold or Compact(),
        output_dir=f"fit {next(_NUMBERS)}",
    )
    batches = micro_batches(global_batches(name), accumulate)
    loader = DataLoader(
        batches[: len(batches) - num_left_out], batch_size=None, collate_fn=lambda batch: batch
    )
    run = trainer(
        sft,
        use_distributed_sampler=False,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=CLIP,
        **DDP,
        **settings,
    )
    run.fit(task, loader)
    state = {"before": before, "after": values(task.model), "mask": sft.ticket.mask.digest()}
    state["scores"] = {}
    if name != "answers":  # which need texts; they have a test of their own
        run.validate(task, loader, verbose=False)
        state["scores"] = {key: value.item() for key, value in run.callback_metrics.items()}
    return state


FITS = {name: {"name": name} for name in TASKS} | {
    "accumulated": {"name": "trees", "accumulate": 2},
    "masked": {"name": "tags", "accumulate": 2, "hold": Masked()},
    "gates": {"name": "tags", "accumulate": 2, "selection": DiffPruning(l0=0.01), "l1": 1.0},
    "gradients": {"name": "pairs", "accumulate": 2, "selection": FisherInformation()},
}


def main(folder: Path) -> None:
    """Run all fits; write what the last rank holds after each."""
    torch.set_num_threads(1)
    for name, settings in FITS.items():
        state = fit(base=str(folder / "base"), **settings)
        if RANK == NUM_RANKS - 1:
            torch.save(state, folder / f"{name} of {NUM_RANKS}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

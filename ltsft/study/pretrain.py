"""A tiny masked LM, pretrained on built-in artificial languages: the quickstart's base model."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from ltsft.atomic import whole_folder
from ltsft.study.config import Pretraining
from ltsft.terminal.complaints import OneLineParser
from ltsft.terminal.output import libraries_on_stdout

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def main(args: list[str]) -> int:
    """Pretrain as the command line says: ``--output FOLDER --seed N`` and `Pretraining`'s keys."""
    parser = OneLineParser(prog="python -m ltsft.study.pretrain", description=__doc__)
    parser.add_argument("--output", required=True, help="Folder of the model and its tokenizer.")
    parser.add_argument("--seed", type=int, default=0, help="Seed; also of the languages' family.")
    parser.add_class_arguments(Pretraining)
    options: Namespace = parser.parse_args(args)
    output, seed = options.pop("output"), options.pop("seed")
    with libraries_on_stdout():
        pretrain(Pretraining(**options.as_dict()), Path(output), seed)
    return 0


WARM_UP = 50
"""Steps in which the learning rate rises from 0."""


def _help_attention(model: "PreTrainedModel") -> None:
    """Start with sinusoidal positions and sharper attention.

    From BERT's own initialisation a model this small learns word frequencies only, within the time
    of a quickstart (loss 3.9 instead of 2.4).
    """
    import torch

    positions = model.bert.embeddings.position_embeddings.weight
    num_positions, width = positions.shape
    steps = torch.arange(0, width, 2) / width
    angles = torch.arange(float(num_positions))[:, None] / 100.0**steps
    positions.data = 0.1 * torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
    for name, parameter in model.named_parameters():
        if "query.weight" in name or "key.weight" in name:
            parameter.data *= 3


def pretrain(settings: Pretraining, output: Path, seed: int) -> None:
    """Train a small BERT by masked language modelling and save it for ``from_pretrained``.

    Plain torch, since nothing about it is sparse: all parameters train, embeddings stay tied.

    Args:
        settings: Languages, sizes, lengths.
        output: Folder to write; it appears when all is done.
        seed: Seed of the languages' family, of the weights and of the order of the data.
    """
    import torch
    from torch.nn.functional import cross_entropy
    from transformers import BertConfig, BertForMaskedLM

    from ltsft.batch import PADDING
    from ltsft.data.artificial import family
    from ltsft.data.encoding.blocks import cut_blocks
    from ltsft.data.serving.masking import mask_tokens

    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    languages = family(seed)
    tokenizer = languages.tokenizer(settings.vocab_size)
    lines = [
        line
        for language in settings.languages
        for line in languages[language].text(settings.num_sentences, "train")
    ]
    blocks, is_text = cut_blocks(lines, tokenizer, settings.max_length, option="pretrain.languages")
    special = set(tokenizer.all_special_ids)
    random_ids = torch.tensor([i for i in range(len(tokenizer)) if i not in special])

    model = BertForMaskedLM(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.hidden_size,
            num_hidden_layers=settings.num_layers,
            num_attention_heads=4,
            intermediate_size=2 * settings.hidden_size,
            max_position_embeddings=settings.max_positions,
            initializer_range=0.05,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    _help_attention(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: step / WARM_UP if step < WARM_UP else 1 - step / settings.max_steps,
    )
    print(f"{len(blocks)} blocks of {settings.max_length}, {model.num_parameters():,} parameters")
    order: list[int] = []
    total = 0.0
    for step in range(1, settings.max_steps + 1):
        while len(order) < settings.batch_size:
            order += torch.randperm(len(blocks), generator=generator).tolist()
        batch, order = blocks[order[: settings.batch_size]], order[settings.batch_size :]
        input_ids, labels = mask_tokens(
            batch.long(),
            is_text,
            torch.randint(2**62, (len(batch),), generator=generator).tolist(),
            probability=settings.mask_probability,
            mask_token_id=tokenizer.mask_token_id,
            random_ids=random_ids,
        )
        chosen = labels != PADDING
        hidden = model.bert(input_ids=input_ids).last_hidden_state[chosen]
        loss = cross_entropy(model.cls(hidden), labels[chosen])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        total += loss.item()
        if step % 100 == 0:
            print(f"step {step} of {settings.max_steps}: loss {total / 100:.3f}", flush=True)
            total = 0.0

    with whole_folder(output) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        shutil.rmtree(output, ignore_errors=True)


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))

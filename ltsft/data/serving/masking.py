"""Masking for masked language modelling (Devlin et al., 2019, §3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ltsft.batch import PADDING, Batch

MASK_SHARE = 0.8
RANDOM_SHARE = 0.1
"""Of the chosen tokens, 80% become the mask token, 10% a random one, the rest stay."""


def mask_tokens(
    input_ids: Tensor,
    is_text: Tensor,
    seeds: Sequence[int],
    *,
    probability: float,
    mask_token_id: int,
    random_ids: Tensor,
) -> tuple[Tensor, Tensor]:
    """Choose the tokens to predict and hide them.

    Each row is drawn from its own seed, so that it does not depend on what else is in the batch, on
    workers, or on any global random state. Where nothing was drawn, the token nearest to being
    drawn is taken, so that no loss is a mean over nothing (in blocks of a few tokens; at 256 tokens
    and 15% it happens once in 10¹⁸ blocks).

    Args:
        input_ids: Token ids [B, T].
        is_text: Which positions may be chosen, [T] or [B, T], bool.
        seeds: One seed per row.
        probability: Share of the tokens to choose.
        mask_token_id: Id of the mask token.
        random_ids: Ids that random tokens are drawn from [R].

    Returns:
        Token ids with the chosen ones hidden, and labels: the original id where a token was chosen,
        -100 elsewhere; both [B, T].
    """
    generator = torch.Generator()
    num_rows, length = input_ids.shape
    chance = torch.empty(num_rows, length)
    action = torch.empty(num_rows, length)
    other = torch.empty(num_rows, length, dtype=torch.long)
    for row, seed in enumerate(seeds):
        generator.manual_seed(seed)
        chance[row] = torch.rand(length, generator=generator)
        action[row] = torch.rand(length, generator=generator)
        other[row] = torch.randint(len(random_ids), (length,), generator=generator)
    chance = chance.masked_fill(~is_text.expand_as(chance), float("inf"))
    chosen = (chance < probability) | (chance == chance.min(dim=1, keepdim=True).values)
    chosen &= is_text
    labels = input_ids.masked_fill(~chosen, PADDING)
    hidden = input_ids.masked_fill(chosen & (action < MASK_SHARE), mask_token_id)
    replaced = chosen & (action >= MASK_SHARE) & (action < MASK_SHARE + RANDOM_SHARE)
    return torch.where(replaced, random_ids[other], hidden), labels


@dataclass
class MaskingCollator:
    """Makes batches of masked blocks.

    Args:
        language: Language code that every batch carries.
        is_text: Positions of a block that hold text, [T], bool.
        probability: Share of tokens to predict.
        mask_token_id: Id of the mask token.
        random_ids: Ids that random tokens are drawn from [R].
    """

    language: str
    is_text: Tensor
    probability: float
    mask_token_id: int
    random_ids: Tensor

    def __call__(self, items: list[tuple[Tensor, int]]) -> Batch:
        """Mask blocks.

        Args:
            items: Block [T] and masking seed of each example.

        Returns:
            `input_ids`, `attention_mask` and `labels` [B, T], int64; `language`.
        """
        blocks = torch.stack([block for block, _ in items]).long()
        input_ids, labels = mask_tokens(
            blocks,
            self.is_text,
            [seed for _, seed in items],
            probability=self.probability,
            mask_token_id=self.mask_token_id,
            random_ids=self.random_ids,
        )
        return {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "labels": labels,
            "language": self.language,
        }

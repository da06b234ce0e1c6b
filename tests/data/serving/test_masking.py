"""Masking: which tokens, how they change, and that it depends on nothing but the row's seed."""

import pytest
import torch

from ltsft.data.serving.masking import MaskingCollator, mask_tokens

MASK = 1
RANDOM_IDS = torch.arange(100, 200)


def mask(
    input_ids: torch.Tensor, seeds: list[int], probability: float = 0.15
) -> tuple[torch.Tensor, torch.Tensor]:
    is_text = torch.ones(input_ids.shape[1], dtype=torch.bool)
    is_text[[0, -1]] = False
    return mask_tokens(
        input_ids,
        is_text,
        seeds,
        probability=probability,
        mask_token_id=MASK,
        random_ids=RANDOM_IDS,
    )


def test_shares() -> None:
    """15% are chosen, of these 80% hidden, 10% random, 10% kept; nothing else changes.

    The bounds are five standard deviations of the 200,000 tokens.
    """
    input_ids = torch.arange(1000).repeat(200, 1) + 1000
    hidden, labels = mask(input_ids, list(range(200)))
    chosen = labels != -100
    assert torch.equal(labels[chosen], input_ids[chosen])
    assert torch.equal(hidden[~chosen], input_ids[~chosen])
    assert not chosen[:, [0, -1]].any()
    assert chosen.float().mean().item() == pytest.approx(0.15, abs=0.004)
    changed = hidden[chosen]
    assert (changed == MASK).float().mean().item() == pytest.approx(0.8, abs=0.012)
    assert torch.isin(changed, RANDOM_IDS).float().mean().item() == pytest.approx(0.1, abs=0.009)
    assert (changed == input_ids[chosen]).float().mean().item() == pytest.approx(0.1, abs=0.009)
    assert torch.isin(RANDOM_IDS, changed).all()


def test_rows_depend_on_their_seed_only() -> None:
    """Neither the rest of the batch nor the global random state matters."""
    input_ids = torch.randint(1000, 2000, (4, 30))
    together = mask(input_ids, [7, 8, 9, 7])
    torch.manual_seed(1)
    for row, seed in enumerate([7, 8, 9, 7]):
        alone = mask(input_ids[row : row + 1], [seed])
        assert torch.equal(together[0][row], alone[0][0])
        assert torch.equal(together[1][row], alone[1][0])
    same = (together[1] != -100).unique(dim=0)
    assert len(same) == 3


def test_at_least_one_token_is_chosen() -> None:
    """However small the share is; and all with a share of 1."""
    input_ids = torch.full((50, 5), 1000)
    _, labels = mask(input_ids, list(range(50)), probability=1e-6)
    assert ((labels != -100).sum(dim=1) == 1).all()
    _, labels = mask(input_ids, list(range(50)), probability=1.0)
    assert ((labels != -100).sum(dim=1) == 3).all()


def test_collator() -> None:
    collator = MaskingCollator("xx", torch.tensor([False, True, True]), 0.5, MASK, RANDOM_IDS)
    items = [(torch.tensor([5, 6, 7], dtype=torch.int32), seed) for seed in (1, 2)]
    batch = collator(items)
    assert batch["language"] == "xx"
    assert torch.equal(batch["attention_mask"], torch.ones(2, 3, dtype=torch.long))
    assert batch["input_ids"].dtype == batch["labels"].dtype == torch.long
    assert batch["input_ids"][:, 0].tolist() == [5, 5]

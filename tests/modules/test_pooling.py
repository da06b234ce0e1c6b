"""Words are the means of their sub-words, whatever lies around them."""

import math

import pytest
import torch

from ltsft.modules import pool_words


def averages_by_hand(hidden: torch.Tensor, word_ids: torch.Tensor, num_words: int) -> torch.Tensor:
    """One word at a time."""
    words = torch.zeros(len(hidden), num_words, hidden.shape[-1], dtype=hidden.dtype)
    for sentence in range(len(hidden)):
        for word in range(num_words):
            members = hidden[sentence][word_ids[sentence] == word]
            if len(members):
                words[sentence, word] = members.mean(0)
    return words


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_loop_over_words(seed: int) -> None:
    """Random membership: words of any number of sub-words, none too, neighbours or not."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(3, 11, 4, generator=generator, dtype=torch.float64)
    word_ids = torch.randint(-1, 6, (3, 11), generator=generator)
    torch.testing.assert_close(
        pool_words(hidden, word_ids, 7), averages_by_hand(hidden, word_ids, 7)
    )


def test_words_without_sub_words_are_zero_and_never_nan() -> None:
    """Also where the only sub-words of a sentence belong to no word and are not finite."""
    hidden = torch.tensor([[[math.nan], [4.0]], [[math.inf], [-math.inf]]])
    words = pool_words(hidden, torch.tensor([[-1, 1], [-1, -1]]), num_words=3)
    assert words.flatten().tolist() == [0, 4, 0, 0, 0, 0]


def test_every_sub_word_gets_its_share_of_the_gradient() -> None:
    hidden = torch.randn(1, 5, 2, requires_grad=True)
    pool_words(hidden, torch.tensor([[-1, 0, 0, 0, 2]]), num_words=4).sum().backward()
    assert hidden.grad is not None
    torch.testing.assert_close(hidden.grad[0, :, 0], torch.tensor([0, 1 / 3, 1 / 3, 1 / 3, 1]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_no_bit(dtype: torch.dtype) -> None:
    """Random states, which 16 bits cannot hold; the gradient is the same too."""
    word_ids = torch.tensor([[-1, 0, 0, 1, 1, 1, -1]])
    outcomes = []
    for enabled in (False, True):
        hidden = torch.randn(1, 7, 3, generator=torch.Generator().manual_seed(0))
        hidden.requires_grad_()
        with torch.autocast("cpu", dtype=dtype, enabled=enabled):
            words = pool_words(hidden, word_ids, num_words=2)
        words.square().sum().backward()
        outcomes.append((words, hidden.grad))
    (words, gradient), (cast_words, cast_gradient) = outcomes
    assert torch.equal(words, cast_words)
    assert gradient is not None
    assert cast_gradient is not None
    assert torch.equal(gradient, cast_gradient)


def test_keeps_the_type_of_the_states() -> None:
    """16-bit states are summed in float32 and rounded once: 300 ones make exactly 1."""
    words = pool_words(
        torch.ones(1, 300, 2, dtype=torch.bfloat16), torch.zeros(1, 300, dtype=torch.long), 1
    )
    assert words.dtype == torch.bfloat16
    assert words.tolist() == [[[1.0, 1.0]]]


def test_no_words() -> None:
    assert pool_words(torch.randn(2, 3, 4), torch.full((2, 3), -1), 0).shape == (2, 0, 4)

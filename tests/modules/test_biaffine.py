"""The shallow biaffine parser: formulas, masks, names, and that it learns."""

import math
import random

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel

from ltsft.errors import LtsftError
from ltsft.metrics import AttachmentScore, decode_trees
from ltsft.modules import Biaffine, BiaffineHead, BiaffineParser, EncodedWords
from ltsft.modules.biaffine import _MAX_PAIRS, loss_of_scores


def randomised(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The module with every parameter drawn anew: biaffine weights start at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    return module


def a_head(num_relations: int = 4, dtype: torch.dtype = torch.float32) -> BiaffineHead:
    head = randomised(BiaffineHead(5, num_relations))
    assert isinstance(head, BiaffineHead)
    return head.to(dtype)


def encoded_words(
    batch_size: int, num_words: int, dtype: torch.dtype = torch.float32
) -> EncodedWords:
    generator = torch.Generator().manual_seed(1)
    return EncodedWords(
        words=torch.randn(batch_size, num_words, 5, generator=generator, dtype=dtype),
        root=torch.randn(batch_size, 5, generator=generator, dtype=dtype),
    )


def score_by_hand(x: list[float], matrix: Tensor, y: list[float]) -> float:
    return sum(
        x_value * matrix[i, j].item() * y_value
        for i, x_value in enumerate(x)
        for j, y_value in enumerate(y)
    )


# --- The maps -----------------------------------------------------------------------------------


def test_parameters_are_named_and_shaped_as_in_published_files() -> None:
    """`biaffine_arcs.weight` [1, H+1, H], `biaffine_rels.weight` [R, H+1, H+1], all zero."""
    state = BiaffineHead(5, 38).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {
        "biaffine_arcs.weight": (1, 6, 5),
        "biaffine_rels.weight": (38, 6, 6),
    }
    assert not any(tensor.any() for tensor in state.values())


def test_scores_are_the_formula() -> None:
    """Arcs (x, 1)ᵀ W y and relations (x, 1)ᵀ Wᵣ (y, 1), entry by entry; root first."""
    head, encoded = a_head(dtype=torch.float64), encoded_words(2, 3, torch.float64)
    arcs = head.arc_scores(encoded, torch.ones(2, 3, dtype=torch.bool))
    relations = head.all_relation_scores(encoded)
    assert arcs.shape == (2, 3, 4)
    assert relations.shape == (2, 3, 4, 4)
    for sentence in range(2):
        candidates = [encoded.root[sentence].tolist(), *encoded.words[sentence].tolist()]
        for word, x in enumerate(encoded.words[sentence].tolist()):
            for candidate, y in enumerate(candidates):
                arc = score_by_hand([*x, 1], head.biaffine_arcs.weight[0], y)
                assert arcs[sentence, word, candidate].item() == pytest.approx(arc)
                for relation in range(4):
                    matrix = head.biaffine_rels.weight[relation]
                    expected = score_by_hand([*x, 1], matrix, [*y, 1])
                    actual = relations[sentence, word, candidate, relation].item()
                    assert actual == pytest.approx(expected)


def test_relations_at_given_heads_are_entries_of_all_relations() -> None:
    """Also where heads are named twice, shared by words, or not there at all."""
    head, encoded = a_head(), encoded_words(2, 3)
    heads = torch.tensor(
        [[[0, 0, 2], [1, 0, -1], [-1, -1, -1]], [[2, 2, 2], [3, 2, -100], [0, 2, 1]]]
    )
    picked = head.all_relation_scores(encoded).take_along_dim(heads.clamp(min=0)[..., None], dim=2)
    picked[heads < 0] = 0  # no head, no scores
    torch.testing.assert_close(head.relation_scores(encoded, heads), picked)
    nothing = torch.full((2, 3, 1), -1)
    assert torch.equal(head.relation_scores(encoded, nothing), torch.zeros(2, 3, 1, 4))


def test_groups_are_scored_as_their_pairs() -> None:
    """In one chunk and in several, in order and not, with rows that nothing goes with."""
    generator = torch.Generator().manual_seed(0)
    biaffine = randomised(Biaffine(3, 2))
    assert isinstance(biaffine, Biaffine)
    y = torch.randn(9, 3, generator=generator)
    for num_pairs in (0, 1, _MAX_PAIRS, 2 * _MAX_PAIRS + 3):
        x = torch.randn(num_pairs, 3, generator=generator)
        rows = torch.randint(8, (num_pairs,), generator=generator)
        for order in (rows, rows.sort().values):
            expected = biaffine.paired(x, y[order])
            torch.testing.assert_close(biaffine.grouped(x, y, order), expected)


def test_pairs_are_scored_alike_in_one_chunk_and_in_several() -> None:
    num_pairs = _MAX_PAIRS + 3
    biaffine = randomised(Biaffine(3, 2))
    x, y = torch.randn(num_pairs, 3), torch.randn(num_pairs, 3)
    assert isinstance(biaffine, Biaffine)
    expected = F.bilinear(
        torch.cat([x, torch.ones(num_pairs, 1)], -1),
        torch.cat([y, torch.ones(num_pairs, 1)], -1),
        biaffine.weight,
    )
    torch.testing.assert_close(biaffine.paired(x, y), expected)
    assert biaffine.paired(x[:0], y[:0]).shape == (0, 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_are_float32_under_autocast(dtype: torch.dtype) -> None:
    """Bit-equal to those without autocast; the mask is minus infinity, which no type lacks."""
    head, encoded = a_head(), encoded_words(2, 3)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    heads = torch.tensor([[[0], [1], [0]], [[2], [3], [0]]])
    plain = head.arc_scores(encoded, mask), head.relation_scores(encoded, heads)
    with torch.autocast("cpu", dtype=dtype):
        cast = head.arc_scores(encoded, mask), head.relation_scores(encoded, heads)
    assert all(torch.equal(a, b) for a, b in zip(plain, cast, strict=True))
    assert not plain[0].to(dtype).softmax(-1).isnan().any()


def test_repr_says_the_sizes() -> None:
    assert repr(Biaffine(3, 2, bias_y=False)) == (
        "Biaffine(in_features=3, out_features=2, bias_x=True, bias_y=False)"
    )


# --- Masks and losses ---------------------------------------------------------------------------


def test_padding_is_never_a_head_and_changes_nothing() -> None:
    """With two words of padding: the same scores, losses and gradients, and no weight on them."""
    heads, relations = torch.tensor([[2, 0, 2]]), torch.tensor([[1, 3, 0]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    encoded = encoded_words(1, 3)
    padded = EncodedWords(torch.cat([encoded.words, torch.zeros(1, 2, 5)], 1), encoded.root)
    mask_padded = F.pad(mask, (0, 2), value=False)
    heads_padded, relations_padded = (F.pad(x, (0, 2), value=-100) for x in (heads, relations))
    outcomes = []
    for words, *gold in [
        (encoded, mask, heads, relations),
        (padded, mask_padded, heads_padded, relations_padded),
    ]:
        head = a_head()
        loss = head.loss(words, *gold)
        loss.total.backward()
        scores = head.arc_scores(words, gold[0])
        gradients = [parameter.grad for parameter in head.parameters()]
        outcomes.append([scores[:, :3, :4], loss.arcs, loss.relations, *gradients])
    for plain, with_padding in zip(*outcomes, strict=True):
        torch.testing.assert_close(plain, with_padding)
    assert scores[:, :, 4:].eq(-math.inf).all()


def test_losses_are_sums_of_cross_entropies_root_included() -> None:
    """Against log-probabilities picked word by word, sentences of unequal length."""
    head, encoded = a_head(), encoded_words(2, 3)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    heads = torch.tensor([[2, 0, 1], [0, -100, -100]])
    relations = torch.tensor([[1, 3, 0], [2, -100, -100]])
    words = [(0, 0), (0, 1), (0, 2), (1, 0)]
    arcs = head.arc_scores(encoded, mask).log_softmax(-1)
    labels = head.all_relation_scores(encoded).log_softmax(-1)
    loss = head.loss(encoded, mask, heads, relations)
    expected_arcs = -sum(arcs[s, w, heads[s, w]] for s, w in words)
    expected_relations = -sum(labels[s, w, heads[s, w], relations[s, w]] for s, w in words)
    torch.testing.assert_close(loss.arcs, expected_arcs)
    torch.testing.assert_close(loss.relations, expected_relations)
    torch.testing.assert_close(loss.total, expected_arcs + expected_relations)
    assert loss.num_words == 4


def test_root_arcs_are_trained() -> None:
    """A lone word has one candidate besides itself; its loss must push towards the root."""
    head, encoded = a_head(), encoded_words(1, 1)
    loss = head.loss(encoded, torch.tensor([[True]]), torch.tensor([[0]]), torch.tensor([[2]]))
    loss.arcs.backward()
    gradient = head.biaffine_arcs.weight.grad
    assert gradient is not None
    assert gradient.any()


def test_words_cut_off_and_unknown_relations_have_no_loss() -> None:
    """Word 2 was cut off: neither it nor word 1, which hangs on it, has a right candidate.

    Word 0 alone has an arc loss, and none of its relation, which is outside the inventory.
    """
    head, encoded = a_head(), encoded_words(1, 3)
    mask = torch.tensor([[True, True, False]])
    loss = head.loss(encoded, mask, torch.tensor([[0, 3, 1]]), torch.tensor([[-1, 0, 1]]))
    log_probabilities = head.arc_scores(encoded, mask).log_softmax(-1)
    torch.testing.assert_close(loss.arcs, -log_probabilities[0, 0, 0])
    assert loss.relations.item() == 0
    assert loss.num_words == 1


def test_the_loss_of_known_scores_is_the_loss() -> None:
    """Of every kind of word: cut off, hung on one that was, of an unknown relation, padding."""
    head, encoded = a_head(), encoded_words(2, 4)
    mask = torch.tensor([[True, True, True, False], [True, True, False, False]])
    heads = torch.tensor([[2, 0, 4, 1], [0, 1, -100, -100]])
    relations = torch.tensor([[1, -1, 0, 3], [2, 3, -100, -100]])
    arcs = head.arc_scores(encoded, mask)
    at_heads = head.all_relation_scores(encoded).take_along_dim(
        heads.clamp(min=0)[..., None, None], dim=2
    )
    expected = head.loss(encoded, mask, heads, relations)
    actual = loss_of_scores(arcs, at_heads.squeeze(2), mask, heads, relations)
    torch.testing.assert_close(actual, expected)
    assert actual.num_words == 4


def test_a_batch_without_words_has_zero_loss_and_gradients() -> None:
    head, encoded = a_head(), encoded_words(1, 2)
    nothing = torch.full((1, 2), -100)
    loss = head.loss(encoded, torch.zeros(1, 2, dtype=torch.bool), nothing, nothing)
    loss.total.backward()
    assert loss.total.item() == 0
    for parameter in head.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


# --- With an encoder ----------------------------------------------------------------------------


def an_encoder(pad_token_id: int = 0, **options: float) -> BertModel:
    torch.manual_seed(0)
    return BertModel(
        BertConfig(
            vocab_size=60,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=32,
            pad_token_id=pad_token_id,
            **options,
        )
    )


def test_names_lie_beside_the_encoder() -> None:
    """As in the authors' files: `bert.…` or `roberta.…`, and the two maps at the top."""
    bert = BiaffineParser(an_encoder(), num_relations=38)
    roberta = BiaffineParser(
        XLMRobertaModel(
            XLMRobertaConfig(
                vocab_size=9,
                hidden_size=4,
                num_hidden_layers=1,
                num_attention_heads=1,
                intermediate_size=4,
            )
        ),
        num_relations=37,
    )
    tops = [{name.split(".")[0] for name in parser.state_dict()} for parser in (bert, roberta)]
    assert tops[0] == {"bert", "biaffine_arcs", "biaffine_rels"}
    assert tops[1] == {"roberta", "biaffine_arcs", "biaffine_rels"}
    assert bert.base_model is bert.bert
    published = {
        "biaffine_arcs.weight": torch.ones(1, 33, 32),
        "biaffine_rels.weight": torch.ones(38, 33, 33),
    }
    assert not bert.load_state_dict(published, strict=False).unexpected_keys


def test_root_is_pooled_without_dropout_and_words_with_it() -> None:
    parser = BiaffineParser(
        an_encoder(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0), 3, dropout=0.5
    ).train()
    inputs = torch.tensor([[2, 7, 8, 9, 3]])
    mask, word_ids = torch.ones_like(inputs), torch.tensor([[-1, 0, 0, 1, -1]])
    words, root = parser(inputs, mask, word_ids, 2)
    output = parser.base_model(input_ids=inputs, attention_mask=mask)
    torch.testing.assert_close(root, output.pooler_output)
    assert not torch.equal(words[0, 1], output.last_hidden_state[0, 3])
    words, _ = parser.eval()(inputs, mask, word_ids, 2)
    torch.testing.assert_close(words[0, 0], output.last_hidden_state[0, 1:3].mean(0))
    assert BiaffineParser(an_encoder(hidden_dropout_prob=0.25), 3).dropout.p == 0.25


def test_encoder_without_pooler_needs_another_root() -> None:
    encoder = BertModel(an_encoder().config, add_pooling_layer=False)
    with pytest.raises(LtsftError, match=r"`root` .* `pooled` and a BertModel without; set"):
        BiaffineParser(encoder, 3)
    assert BiaffineParser(encoder, 3, root="first_token").root == "first_token"


def test_root_may_be_the_first_token() -> None:
    """Its final state without dropout; the pooling layer is gone, as it would get no gradient."""
    parser = BiaffineParser(an_encoder(), 3, root="first_token").eval()
    assert not any("pooler" in name for name in parser.state_dict())
    inputs = torch.tensor([[2, 7, 8, 3]])
    mask, word_ids = torch.ones_like(inputs), torch.tensor([[-1, 0, 1, -1]])
    _, root = parser(inputs, mask, word_ids, 2)
    hidden = parser.base_model(input_ids=inputs, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(root, hidden[:, 0])


def test_pad_ids_0_and_1_give_the_same_parse() -> None:
    """Two encoders of the same weights, one padding with 0 and one with 1; a padded batch."""
    scores, losses = [], []
    for pad in (0, 1):
        encoder = an_encoder(pad)
        parser = BiaffineParser(encoder, 4).eval()
        randomised(parser)
        with torch.no_grad():  # each model's padding embedding is zero, as in pretrained ones
            encoder.embeddings.word_embeddings.weight[:2] = 0
        inputs = torch.tensor([[2, 7, 8, 9, 3], [2, 5, 3, pad, pad]])
        attention = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
        word_ids = torch.tensor([[-1, 0, 1, 2, -1], [-1, 0, -1, -1, -1]])
        mask = torch.tensor([[True, True, True], [True, False, False]])
        heads = torch.tensor([[0, 1, 1], [0, -100, -100]])  # heads 0 and 1 must both count
        encoded = parser(inputs, attention, word_ids, 3)
        scores.append(parser.arc_scores(encoded, mask))
        losses.append(parser.loss(encoded, mask, heads, heads).total)
    torch.testing.assert_close(scores[0], scores[1], rtol=0, atol=0)
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=0)
    assert torch.equal(*(decode_trees(arc_scores, mask) for arc_scores in scores))


def test_memorises_random_trees() -> None:
    """20 sentences of 1 to 7 words with arbitrary trees and relations, to 100 LAS.

    Some words have two sub-words, and the fourth of each sentence has none at all.
    """
    rng = random.Random(0)
    size, num_words, num_relations = 20, 7, 5
    inputs = torch.zeros(size, 2 * num_words + 2, dtype=torch.long)
    word_ids = torch.full_like(inputs, -1)
    heads = torch.full((size, num_words), -100)
    relations = torch.full_like(heads, -100)
    for sentence in range(size):
        length = rng.randint(1, num_words)
        pieces, owners = [2], [-1]
        for word in range(length):
            num_pieces = 0 if word == 3 else rng.randint(1, 2)
            pieces += [rng.randint(4, 59) for _ in range(num_pieces)]
            owners += [word] * num_pieces
        pieces.append(3)
        owners.append(-1)
        inputs[sentence, : len(pieces)] = torch.tensor(pieces)
        word_ids[sentence, : len(owners)] = torch.tensor(owners)
        scores = torch.tensor([[[rng.random() for _ in range(length + 1)] for _ in range(length)]])
        heads[sentence, :length] = decode_trees(scores, torch.ones(1, length, dtype=torch.bool))[0]
        relations[sentence, :length] = torch.tensor(
            [rng.randrange(num_relations) for _ in range(length)]
        )
    mask = heads >= 0
    parser = BiaffineParser(an_encoder(), num_relations, dropout=0.0).eval()
    optimizer = torch.optim.Adam(parser.parameters(), lr=3e-3)
    metric = AttachmentScore()
    for _ in range(300):
        encoded = parser(inputs, (inputs > 0).long(), word_ids, num_words)
        losses = parser.loss(encoded, mask, heads, relations)
        loss = losses.total / losses.num_words
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.02:
            break
    with torch.no_grad():
        encoded = parser(inputs, (inputs > 0).long(), word_ids, num_words)
        predicted = decode_trees(parser.arc_scores(encoded, mask), mask)
        labels = parser.relation_scores(encoded, predicted.unsqueeze(-1))[:, :, 0].argmax(-1)
    metric.update(predicted, labels, heads, relations)
    assert metric.compute() == 1

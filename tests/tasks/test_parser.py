"""The parser: what its scores are, what it may meet, what of it is kept."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, BertConfig, PreTrainedTokenizerFast
from udtools.udeval import evaluate, load_conllu_file  # type: ignore[import-untyped]

from ltsft.callbacks import LanguageSfts, Phase, SparseMaskCallback
from ltsft.data import ParsingData, Source
from ltsft.data.artificial import family
from ltsft.data.labels import RELATIONS
from ltsft.errors import LtsftError
from ltsft.metrics import is_tree
from ltsft.sparse import Budget, SparseFineTuning
from ltsft.tasks import MaskedLM, Parser
from tests.callbacks.plain import loader_of, trainer, values
from tests.tasks.test_encoders import language_batches
from tests.tiny import CONFIGS, save_base, tokenizer

TREEBANKS = Path(__file__).parents[3] / "shared/data/ud"
NOTHING = "\u2028"
"""A form of which the tokenizer of `tests.tiny` leaves nothing."""


@pytest.fixture
def base(tmp_path):
    return save_base(tmp_path / "base")


def row(number: object, form: str, head: object, relation: str) -> str:
    return f"{number}\t{form}\t_\tX\t_\t_\t{head}\t{relation}\t_\t_\n"


def random_treebank(path: Path, num: int = 20, longest: int = 9, seed: int = 0) -> str:
    """Arbitrary trees, with ranges, empty nodes, forms with a space and forms with no sub-word."""
    generator = torch.Generator().manual_seed(seed)

    def draw(limit: int) -> int:
        return int(torch.randint(limit, (1,), generator=generator))

    lines = []
    for number in range(num):
        length = 1 + number % longest
        order = torch.randperm(length, generator=generator).tolist()
        heads = [0] * length
        for place, word in enumerate(order[1:], start=1):
            heads[word] = order[draw(place)] + 1
        lines.append(f"# sent_id = {number}\n")
        for word in range(1, length + 1):
            if word % 4 == 1 and word < length:
                lines.append(row(f"{word}-{word + 1}", "joined", "_", "_"))
            form = {3: NOTHING, 5: f"w{draw(60)} w{draw(60)}"}.get(word, f"w{draw(60)}")
            relation = RELATIONS[draw(37)] + ("", ":sub")[draw(2)]
            lines.append(row(word, form, heads[word - 1], relation))
        lines.append(row(f"{length}.1", "gone", "_", "_") + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


def data_of(base: str, **options: Any) -> ParsingData:
    return ParsingData(base, **{"max_length": 64} | options)


def num_within(words: list[str], max_length: int) -> int:
    """Words that lie within a limit: those whose first piece does; special tokens are two."""
    room = max_length - 2
    pieces = [0 if word == NOTHING else len(word.split()) for word in words]
    if sum(pieces) < room:
        return len(words)
    return max(w for w in range(len(words)) if pieces[w] and sum(pieces[:w]) < room) + 1


def official(gold: str | Path, predicted: Path) -> dict[str, float]:
    scores = evaluate(load_conllu_file(str(gold)), load_conllu_file(str(predicted)))
    return {"uas": scores["UAS"].f1, "las": scores["LAS"].f1}


def randomised(task: Parser, seed: int = 0) -> Parser:
    """Give the maps, which start at zero, weights that make each sentence's parse another."""
    generator = torch.Generator().manual_seed(seed)
    for biaffine in (task.model.biaffine_arcs, task.model.biaffine_rels):
        biaffine.weight.data = torch.randn(biaffine.weight.shape, generator=generator)
    return task.eval()


def test_and_predict(task: Parser, data: ParsingData, folder: Path) -> tuple[dict[str, float], Any]:
    """Logged scores, and the file of predictions, of the language `xx`."""
    run = trainer()
    (scores,) = run.test(task, data, verbose=False)
    batches = run.predict(task, data)
    path = data.save_predictions("xx", [p for batch in batches for p in batch], folder)
    return {name.removeprefix("test_").removesuffix("/xx"): v for name, v in scores.items()}, path


test_and_predict.__test__ = False  # type: ignore[attr-defined]


# --- Scores -------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_length", [6, 64])
def test_scores_are_those_of_the_file_of_predictions(base, tmp_path, max_length):
    """To the last digit, with ranges, empty nodes, spaces, sub-types and words without sub-words.

    At 6 sub-words some sentences are cut off; the file holds trees of all their words.
    """
    gold = random_treebank(tmp_path / "gold.conllu", num=40)
    data = data_of(
        base, test={"xx": gold}, predict={"xx": gold}, eval_batch_size=7, max_length=max_length
    )
    task = randomised(Parser(labels=RELATIONS, base_model=base))
    scores, path = test_and_predict(task, data, tmp_path)
    assert {name: scores[name] for name in ("uas", "las")} == official(gold, path)
    assert 0 < scores["las"] < scores["uas"] < 1


@pytest.mark.skipif(not TREEBANKS.exists(), reason="no real treebanks here")
@pytest.mark.parametrize("language", ["gv", "ja", "vi"])
def test_scores_on_real_treebanks(tmp_path, language):
    """Many ranges in Manx, a long sentence in Japanese, spaces in Vietnamese words."""
    base = roomy_model(tmp_path / "base", family().tokenizer())
    gold = str(TREEBANKS / language / "test.conllu")
    data = data_of(base, test={"xx": gold}, predict={"xx": gold}, max_length=128)
    task = randomised(Parser(labels=RELATIONS, base_model=base))
    scores, path = test_and_predict(task, data, tmp_path)
    assert {name: scores[name] for name in ("uas", "las")} == official(gold, path)


def roomy_model(folder: Path, pieces: PreTrainedTokenizerFast) -> str:
    """A random model without dropout, four times as wide as those of `tests.tiny`."""
    pieces.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=128,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.05,
        pad_token_id=pieces.pad_token_id,
    )
    AutoModel.from_config(config).save_pretrained(folder)
    return str(folder)


def test_scores_count_word_by_word(base, tmp_path):
    """Against a loop over words: official ones on trees, the paper's on greedy heads."""
    gold = random_treebank(tmp_path / "gold.conllu", num=30)
    data = data_of(base, test={"xx": gold}, predict={"xx": gold}, max_length=6)
    task = randomised(Parser(labels=RELATIONS, base_model=base))
    scores, path = test_and_predict(task, data, tmp_path)
    right = dict.fromkeys(("uas", "las", "paper_uas", "paper_las"), 0)
    words = dict.fromkeys(right, 0)
    trees = [p for batch in trainer().predict(task, data) for p in batch]
    examples = iter(zip(data.examples("test", "xx"), trees, strict=True))
    for batch in data.test_dataloader()[0]:
        encoded = task(batch)
        arcs = task.model.biaffine_arcs(encoded.words, encoded.candidates())[:, 0]
        relations = task.model.all_relation_scores(encoded).argmax(-1)
        for b in range(len(arcs)):
            sentence, tree = next(examples)
            seen = num_within(sentence.words, 6)
            for w, (head, relation) in enumerate(
                zip(sentence.heads, sentence.relations, strict=True)
            ):
                answers = {"": tree[w]}
                if w >= seen:
                    answers["paper_"] = (-1, "")
                else:
                    best = int(arcs[b, w, : seen + 1].argmax())
                    answers["paper_"] = (best, RELATIONS[relations[b, w, best]])
                    assert tree[w][1] == RELATIONS[relations[b, w, tree[w][0]]]
                for convention, answer in answers.items():
                    if convention and head == 0:
                        continue
                    words[convention + "uas"] += 1
                    words[convention + "las"] += 1
                    right[convention + "uas"] += answer[0] == head
                    right[convention + "las"] += answer == (head, relation)
    assert {name: right[name] / words[name] for name in right} == {
        name: scores[name] for name in right
    }


def test_words_beyond_the_limit(base, tmp_path):
    """The file has trees of all words, with one root; those beyond hang on words within."""
    gold = random_treebank(tmp_path / "gold.conllu", num=40)
    data = data_of(base, test={"xx": gold}, predict={"xx": gold}, max_length=6)
    task = randomised(Parser(labels=RELATIONS, base_model=base))
    _, path = test_and_predict(task, data, tmp_path)
    predicted = data_of(base, test={"xx": str(path)}).examples("test", "xx")
    num_cut = 0
    for sentence, answer in zip(data.examples("test", "xx"), predicted, strict=True):
        assert is_tree(np.array(answer.heads))
        seen = num_within(sentence.words, 6)
        assert set(answer.relations[seen:]) <= {"dep"}
        assert all(0 < head <= seen for head in answer.heads[seen:])
        num_cut += len(sentence) - seen
    assert num_cut > 30


def test_loss_is_the_mean_over_words_of_uneven_batches(base, tmp_path):
    """Batches of one sentence, and all sentences in one batch, give one loss."""
    gold = random_treebank(tmp_path / "gold.conllu")
    task = randomised(Parser(labels=RELATIONS, base_model=base))
    losses = []
    for batch_size in (1, 20):
        data = data_of(base, validation={"xx": gold}, eval_batch_size=batch_size)
        losses.append(trainer().validate(task, data, verbose=False)[0]["val_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    (batch,) = data.val_dataloader()[0]
    assert task.training_loss(batch).mean.item() == pytest.approx(losses[1], rel=1e-5)


# --- Odd sentences ------------------------------------------------------------------------------


def parse(task: Parser, data: ParsingData) -> list[list[tuple[int, str]]]:
    return [p for batch in trainer().predict(task, data) for p in batch]


def test_padding_changes_no_parse(base, tmp_path):
    """A batch of one sentence gives the parse that it has among longer ones."""
    gold = random_treebank(tmp_path / "gold.conllu", num=18)
    task = randomised(Parser(labels=RELATIONS, base_model=base))
    alone, together = (
        parse(task, data_of(base, predict={"xx": gold}, eval_batch_size=size)) for size in (1, 18)
    )
    assert alone == together


@pytest.mark.parametrize(
    "forms", [["w1"], [NOTHING], [NOTHING] * 3, ["w1", NOTHING, NOTHING], [NOTHING, "w1"]]
)
def test_sentences_with_hardly_a_sub_word(base, tmp_path, forms):
    """One word, words of which the tokenizer leaves nothing: a tree, a loss, gradients; no NaN."""
    path = tmp_path / "a.conllu"
    path.write_text("".join(row(i, form, i - 1, "dep") for i, form in enumerate(forms, start=1)))
    data = data_of(base, predict={"xx": str(path)}, train={"xx": str(path)})
    task = randomised(Parser(labels=RELATIONS, base_model=base))
    (tree,) = parse(task, data)
    assert is_tree(np.array([head for head, _ in tree]))
    loss = task.training_loss(next(iter(data.train_dataloader()))).mean
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())


def test_pad_ids_0_and_1_give_the_same_parse(tmp_path):
    """Two models that differ in which of the first two ids pads: same batches, same scores."""
    gold = random_treebank(tmp_path / "gold.conllu")
    folders = [save_base(tmp_path / name, seed=0) for name in ("one", "zero")]
    swap_first_two_ids(Path(folders[1]))
    parses, scores = [], []
    for folder in folders:
        task = randomised(Parser(labels=RELATIONS, base_model=folder))
        task.model.bert.pooler.load_state_dict(
            {"dense.weight": torch.eye(16), "dense.bias": torch.zeros(16)}
        )
        data = data_of(folder, test={"xx": gold}, predict={"xx": gold}, eval_batch_size=20)
        (batch,) = data.test_dataloader()[0]
        assert (batch["input_ids"] == task.model.config.pad_token_id).any()
        result, path = test_and_predict(task, data, tmp_path / Path(folder).name)
        scores.append(result)
        parses.append(path.read_text())
    assert parses[0] == parses[1]
    assert scores[0] == scores[1]


def swap_first_two_ids(folder: Path) -> None:
    """Let `<s>` be 1 and `<pad>` be 0 in a model and its tokenizer."""
    model = AutoModelForMaskedLM.from_pretrained(folder)
    for name in ("bert.embeddings.word_embeddings.weight", "cls.predictions.bias"):
        model.get_parameter(name).data[:2] = model.get_parameter(name).data[:2].flip(0)
    model.config.pad_token_id = 0
    model.save_pretrained(folder)
    text = tokenizer().backend_tokenizer.to_str()
    for old, new in (
        ('"<s>":0', '"<s>":A'),
        ('"<pad>":1', '"<pad>":0'),
        ('"<s>":A', '"<s>":1'),
        ('"ids":[0]', '"ids":[1]'),
    ):
        assert old in text
        text = text.replace(old, new)
    pieces = tokenizer()
    pieces._tokenizer = type(pieces.backend_tokenizer).from_str(text)
    pieces.save_pretrained(folder)


# --- Learning -----------------------------------------------------------------------------------


def test_memorises_20_sentences(tmp_path):
    """Arbitrary trees and relations, to 100 LAS in all conventions, through Lightning."""
    base = roomy_model(tmp_path / "base", tokenizer())
    gold = random_treebank(tmp_path / "gold.conllu")
    data = data_of(base, train={"xx": gold}, test={"xx": gold}, global_batch_size=20)
    task = Parser(labels=RELATIONS, base_model=base, learning_rate=5e-3, dropout=0.0)
    trainer(max_steps=100, gradient_clip_val=1.0).fit(task, data)
    (scores,) = trainer().test(task, data, verbose=False)
    expected = dict.fromkeys(("uas", "las", "paper_uas", "paper_las"), 1.0)
    assert {name: scores[f"test_{name}/xx"] for name in expected} == expected


def test_learns_an_artificial_language(tmp_path):
    """On sentences it has not seen, far above always taking the word before."""
    base = roomy_model(tmp_path / "base", family().tokenizer())
    data = data_of(
        base,
        train={"xx": Source("artificial:elmu", limit=400)},
        test={"xx": Source("artificial:elmu", limit=100)},
        global_batch_size=32,
    )
    task = Parser(labels=RELATIONS, base_model=base, learning_rate=5e-3, dropout=0.0)
    trainer(max_steps=60, gradient_clip_val=1.0).fit(task, data)
    (scores,) = trainer().test(task, data, verbose=False)
    gold = [head for s in data.examples("test", "xx") for head in enumerate(s.heads)]
    word_before = sum(place == head for place, head in gold) / len(gold)
    assert word_before < 0.5
    assert scores["test_las/xx"] > 0.75


# --- What is kept -------------------------------------------------------------------------------


def fit(task: Parser, data: ParsingData) -> SparseFineTuning:
    sft = SparseMaskCallback(
        Budget(num_params=50), dense=Phase(max_steps=4), sparse=Phase(max_steps=5)
    )
    trainer(sft).fit(task, data)
    assert sft.sft is not None
    return sft.sft


@pytest.mark.parametrize(("kind", "prefix"), [("bert", "bert"), ("xlmr", "roberta")])
def test_names_are_those_of_published_files(tmp_path, kind, prefix):
    """The encoder under its family's name; the maps and a fresh pooler are whole."""
    base = save_base(tmp_path / "base", kind)
    gold = random_treebank(tmp_path / "gold.conllu")
    data = data_of(base, train={"xx": gold}, validation={"xx": gold})
    sft = fit(Parser(labels=RELATIONS, base_model=base, learning_rate=1e-2), data)
    assert set(sft.whole) == {
        "biaffine_arcs.weight",
        "biaffine_rels.weight",
        f"{prefix}.pooler.dense.weight",
        f"{prefix}.pooler.dense.bias",
    }
    assert sft.whole["biaffine_rels.weight"].shape == (37, 17, 17)
    assert all(name.startswith((f"{prefix}.encoder.", f"{prefix}.emb")) for name in sft.entries)
    assert (sft.metadata.task, sft.metadata.labels) == ("dp", RELATIONS)


def test_a_pooler_that_came_with_the_checkpoint_is_maskable(base, tmp_path):
    AutoModel.from_pretrained(base).save_pretrained(tmp_path / "pooled")
    tokenizer().save_pretrained(tmp_path / "pooled")
    task = Parser(labels=RELATIONS, base_model=str(tmp_path / "pooled"))
    scope = task.scope_rules().resolve(task.sft_root)
    assert scope.whole == ("biaffine_arcs.weight", "biaffine_rels.weight")
    assert "bert.pooler.dense.weight" in scope.maskable
    assert all("LayerNorm" in name for name in scope.frozen)


def test_language_fine_tunings_made_without_a_pooler(base, tmp_path):
    """φ_language goes under a parser in training, and on it in a test, where it changes scores."""
    gold = random_treebank(tmp_path / "gold.conllu")
    language = SparseMaskCallback(
        Budget(num_params=200), dense=Phase(max_steps=4), sparse=Phase(max_steps=5)
    )
    loader = loader_of(language_batches())
    trainer(language).fit(MaskedLM(base_model=base, learning_rate=1e-1), loader, loader)
    language.sft.save_pretrained("language")
    assert not any("pooler" in name for name in language.sft.entries)

    data = data_of(base, train={"xx": gold}, validation={"xx": gold}, test={"xx": gold})
    task = Parser(labels=RELATIONS, base_model=base, base_sfts=["language"], learning_rate=1e-2)
    fit(task, data).save_pretrained("task")

    tested = Parser(base_model=base, base_sfts=["task"])
    assert tested.labels == RELATIONS
    before = values(tested)
    (alone,) = trainer().test(tested, data, verbose=False)
    (with_language,) = trainer(LanguageSfts({"xx": "language"})).test(tested, data, verbose=False)
    assert all(torch.equal(value, before[name]) for name, value in values(tested).items())
    (trained,) = trainer().test(task, data, verbose=False)
    assert with_language["test_loss/xx"] == pytest.approx(trained["test_loss/xx"], rel=1e-4)
    assert alone["test_loss/xx"] != pytest.approx(trained["test_loss/xx"], rel=1e-4)


@pytest.mark.parametrize("root", ["pooled", "first_token"])
def test_a_checkpoint_reloads_without_its_base(base, tmp_path, root):
    gold = random_treebank(tmp_path / "gold.conllu")
    task = Parser(
        labels=["_", *RELATIONS], base_model=base, learning_rate=1e-2, dropout=0.3, root=root
    )
    sft = SparseMaskCallback(
        Budget(num_params=50), dense=Phase(max_steps=4), sparse=Phase(max_steps=5)
    )
    run = trainer(sft)
    run.fit(task, data_of(base, train={"xx": gold}, validation={"xx": gold}))
    run.save_checkpoint(tmp_path / "a.ckpt")
    (batch,) = data_of(base, test={"xx": gold}, eval_batch_size=20).test_dataloader()[0]
    shutil.rmtree(base)
    again = Parser.load_from_checkpoint(tmp_path / "a.ckpt").eval()
    assert again.labels == ["_", *RELATIONS]
    assert again.model.dropout.p == 0.3
    assert (
        again._fresh
        == task._fresh
        == ({f"bert.pooler.dense.{n}" for n in ("weight", "bias")} if root == "pooled" else set())
    )
    assert values(again).keys() == values(task).keys()
    for name, value in values(task).items():
        assert torch.equal(values(again)[name], value)
    assert again.predict_step(batch, 0) == task.eval().predict_step(batch, 0)


@pytest.mark.parametrize("kind", list(CONFIGS))
def test_every_encoder_parses(tmp_path, kind):
    """Those without a pooling layer say so in one line, and take the first token for a root."""
    base = save_base(tmp_path / "base", kind)
    gold = random_treebank(tmp_path / "gold.conllu")
    if kind in ("distilbert", "modernbert"):
        with pytest.raises(LtsftError, match="set `model.init_args.root: first_token`") as caught:
            Parser(labels=RELATIONS, base_model=base)
        assert "\n" not in str(caught.value)
    task = Parser(labels=RELATIONS, base_model=base, root="first_token", learning_rate=1e-2)
    assert not any("pooler" in name for name, _ in task.model.named_parameters())
    sft = fit(task, data_of(base, train={"xx": gold}, validation={"xx": gold}))
    assert set(sft.whole) == {"biaffine_arcs.weight", "biaffine_rels.weight"}
    assert sft.num_params == 50
    assert {name.split(".")[0] for name in sft.entries} == {task.model.base_model_prefix}

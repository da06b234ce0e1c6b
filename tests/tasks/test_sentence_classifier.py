"""SentenceClassifier: losses and scores by hand, every kind of encoder, checkpoints, composing."""

import shutil

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSequenceClassification

from ltsft.data.labels import NLI
from ltsft.errors import LtsftError
from ltsft.exchange.plain_checkpoint import compose
from ltsft.sparse import SparseFineTuning
from ltsft.tasks import MaskedLM, SentenceClassifier
from tests.callbacks.plain import loader_of, trainer, values
from tests.tasks.test_encoders import fit, language_batches
from tests.tiny import CONFIGS, save_base


@pytest.fixture(params=list(CONFIGS))
def base(request, tmp_path):
    return save_base(tmp_path / "base", request.param)


def pair_batches(num=6, size=4, num_labels=3):
    generator = torch.Generator().manual_seed(2)
    for _ in range(num):
        ids = torch.randint(5, 60, (size, 12), generator=generator)
        yield {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "token_type_ids": (torch.arange(12) > 5).long().repeat(size, 1),
            "labels": torch.randint(0, num_labels, (size,), generator=generator),
            "language": "aa",
        }


def logits_of(model, batch):
    names = ["input_ids", "attention_mask"]
    if model.config.model_type in ("bert", "xlm-roberta"):
        names.append("token_type_ids")
    with torch.no_grad():
        return model.eval()(**{name: batch[name] for name in names}).logits


def test_what_compose_makes_has_the_same_logits(base):
    """Over a language's fine-tuning, for every kind of encoder, loaded by transformers alone."""
    language = fit(MaskedLM(base_model=base, learning_rate=1e-2), language_batches())
    language.save_pretrained("language")
    module = SentenceClassifier(
        labels=NLI, base_model=base, base_sfts=["language"], learning_rate=1e-2
    )
    task = fit(module, pair_batches())
    assert task.metadata.task == "nli"
    task.save_pretrained("task")
    sfts = {name: SparseFineTuning.from_pretrained(name) for name in ("language", "task")}
    compose(sfts, base).save_pretrained("composed")
    model = AutoModelForSequenceClassification.from_pretrained("composed")
    assert [model.config.id2label[id] for id in range(3)] == NLI
    batch = next(pair_batches())
    with torch.no_grad():
        expected = module.eval()(batch)
    torch.testing.assert_close(logits_of(model, batch), expected, rtol=0, atol=1e-5)
    assert not torch.equal(expected[0], expected[1])


def test_a_checkpoint_reloads_without_its_base(base, tmp_path):
    module = SentenceClassifier(labels=["x", "y"], base_model=base, learning_rate=1e-2)
    run = trainer(max_steps=3)
    run.fit(module, loader_of(pair_batches(num_labels=2)))
    run.save_checkpoint(tmp_path / "a.ckpt")
    shutil.rmtree(base)
    again = SentenceClassifier.load_from_checkpoint(tmp_path / "a.ckpt").eval()
    assert again.labels == ["x", "y"]
    assert again.task_name == "classification"
    for name, value in values(module).items():
        assert torch.equal(values(again)[name], value)
    batch = next(pair_batches())
    with torch.no_grad():
        assert torch.equal(again(batch), module.eval()(batch))


def test_a_pooler_is_whole_only_if_it_is_new(tmp_path):
    """One that came with the pretrained model belongs to the encoder, and is maskable."""
    base = save_base(tmp_path / "base")
    pooler = {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    scope = _scope(base)
    assert pooler <= set(scope.whole)
    AutoModelForSequenceClassification.from_pretrained(base).save_pretrained(tmp_path / "pooled")
    scope = _scope(str(tmp_path / "pooled"))
    assert pooler <= set(scope.maskable)
    assert set(scope.whole) == {"classifier.weight", "classifier.bias"}


def _scope(base):
    task = SentenceClassifier(labels=["x", "y", "z", "u", "v"], base_model=base)
    return task.scope_rules().resolve(task.sft_root)


def test_scores_are_those_of_scikit_learn(tmp_path):
    """In uneven batches; unknown gold labels are one more label, those that are none are left out.

    Label `c` never occurs, neither as gold nor, by its bias, as a prediction: no part of the mean.
    """
    task = SentenceClassifier(labels=["a", "b", "c"], base_model=save_base(tmp_path / "base"))
    task.eval().model.classifier.bias.data = torch.tensor([0.0, 0.0, -100.0])
    batches = list(pair_batches(3, size=9, num_labels=2))
    batches[0]["labels"][[1, 4]] = -1
    batches[1]["labels"][[0, 2, 3]] = -100
    batches[2] = {k: v[:1] if torch.is_tensor(v) else v for k, v in batches[2].items()}
    run = trainer()
    run.test(task, loader_of(batches), verbose=False)
    with torch.no_grad():
        logits = torch.cat([task(batch) for batch in batches])
    gold = torch.cat([batch["labels"] for batch in batches])
    kept = gold != -100
    logits, gold = logits[kept], gold[kept]
    guess = logits.argmax(-1)
    assert len(gold) == 16
    assert set(guess.tolist()) == {0, 1}
    scores = {name: value.item() for name, value in run.callback_metrics.items()}
    assert scores["test_accuracy/aa"] == pytest.approx(accuracy_score(gold, guess))
    assert scores["test_macro_f1/aa"] == pytest.approx(f1_score(gold, guess, average="macro"))
    known = gold >= 0
    loss = cross_entropy(logits[known], gold[known]).item()
    assert scores["test_loss/aa"] == pytest.approx(loss, rel=1e-5)


def test_examples_without_a_known_label_are_not_trained_on(tmp_path):
    """A batch without any label moves nothing; the others' loss is the mean over the rest."""
    task = SentenceClassifier(labels=NLI, base_model=save_base(tmp_path / "base")).eval()
    batch = next(pair_batches())
    expected = cross_entropy(task(batch)[:2], batch["labels"][:2])
    batch["labels"][2:] = torch.tensor([-1, -100])
    torch.testing.assert_close(task.training_loss(batch).mean, expected)
    batch["labels"][:] = -100
    assert task.training_loss(batch).mean.item() == 0


def test_predictions_are_probabilities_by_label(tmp_path):
    task = SentenceClassifier(labels=NLI, base_model=save_base(tmp_path / "base")).eval()
    batch = next(pair_batches(size=1))
    with torch.no_grad():
        (shares,) = task.predict_step(batch, 0)
        expected = task(batch).softmax(-1)[0].tolist()
    assert list(shares) == NLI
    assert list(shares.values()) == pytest.approx(expected)


def test_the_second_text_has_a_type_of_its_own_where_the_model_knows_types(tmp_path):
    """BERT's logits depend on it; a model with one type takes none, like XLM-R's own."""
    for kind, matters in (("bert", True), ("distilbert", False)):
        task = SentenceClassifier(labels=NLI, base_model=save_base(tmp_path / kind, kind)).eval()
        batch = next(pair_batches())
        other = batch | {"token_type_ids": torch.zeros_like(batch["token_type_ids"])}
        with torch.no_grad():
            assert torch.equal(task(batch), task(other)) != matters
    CONFIGS["one type"] = lambda: _with_one_type(CONFIGS["xlmr"]())
    try:
        base = save_base(tmp_path / "one", "one type")
    finally:
        del CONFIGS["one type"]
    task = SentenceClassifier(labels=NLI, base_model=base).eval()
    assert torch.isfinite(task(next(pair_batches()))).all()


def _with_one_type(config):
    config.type_vocab_size = 1
    return config


def test_without_labels(tmp_path):
    with pytest.raises(LtsftError, match="`model.init_args.labels` is expected to list the label"):
        SentenceClassifier(base_model=save_base(tmp_path / "base"))

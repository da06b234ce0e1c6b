"""Task: labels, modes, and what a fine-tuning says of where it is from."""

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision

from ltsft.data import PairData, ParsingData, QuestionData, Source, TaggingData, TextData
from ltsft.data.labels import ENTITIES, NLI, RELATIONS, UPOS
from ltsft.errors import LtsftError
from ltsft.sparse import SparseFineTuning
from ltsft.tasks import MaskedLM, Parser, QuestionAnswering, SentenceClassifier, Tagger
from tests.callbacks.plain import callback, loader_of, trainer
from tests.tasks.test_encoders import LABELS, fit, language_batches, tagging_batches
from tests.tiny import save_artificial_base, save_base


def test_at_test_time_the_fine_tunings_labels_are_the_truth(tmp_path):
    base = save_base(tmp_path / "base")
    fit(Tagger(labels=LABELS, base_model=base), tagging_batches()).save_pretrained("task")
    assert Tagger(base_model=base, base_sfts=["task"]).labels == LABELS
    with pytest.raises(LtsftError, match=r"labels of .*task \(of the task pos\), A, B, C"):
        Tagger(labels=["A", "C", "B"], base_model=base, base_sfts=["task"])


def test_dropout_is_on_in_training_and_off_in_evaluation(tmp_path):
    """Two passes over a batch differ in training and agree in validation, in both phases."""

    class Watched(Tagger):
        def training_loss(self, batch):
            trained.append(torch.equal(self(batch), self(batch)))
            return super().training_loss(batch)

        def score(self, batch, metrics):
            evaluated.append(torch.equal(self(batch), self(batch)))
            super().score(batch, metrics)

    trained, evaluated = [], []
    fit(Watched(labels=LABELS, base_model=save_base(tmp_path / "base")), tagging_batches())
    assert trained == [False] * (4 + 5)
    assert set(evaluated) == {True}


def test_a_fine_tuning_file_knows_its_base(tmp_path):
    base = save_base(tmp_path / "base")
    fit(MaskedLM(base_model=base), language_batches()).save_pretrained("language")
    other = save_base(tmp_path / "other", seed=1)
    with pytest.raises(LtsftError, match="weights it was trained from"):
        MaskedLM(base_model=other, base_sfts=["language"])
    assert SparseFineTuning.from_pretrained("language").metadata.base_model == base


def test_each_metric_is_updated_by_its_name(tmp_path):
    """With what `evaluate` returns for it, and once a batch."""
    task = Tagger(labels=LABELS, base_model=save_base(tmp_path / "base")).eval()
    batch = next(tagging_batches())
    updates = task.evaluate(batch)
    metrics = task.make_metrics()
    assert updates.keys() == metrics.keys()
    task.score(batch, metrics)
    for name, metric in metrics.items():
        other = task.make_metrics()[name]
        other.update(*updates[name])
        assert torch.equal(metric.compute(), other.compute())
        assert metric.update_count == 1


def test_every_task_evaluates_for_all_of_its_metrics(tmp_path):
    base = save_artificial_base(tmp_path / "base")
    roles = {"validation": {"elmu": Source("artificial:elmu", limit=5)}}
    options = {"max_length": 40, "stride": 8, "max_question_length": 12}
    for task, data in [
        (MaskedLM(base_model=base), TextData(base, text="artificial:elmu", max_length=20)),
        (Tagger(UPOS, base_model=base), TaggingData(base, **roles)),
        (
            Tagger(ENTITIES, metric="span_f1", base_model=base),
            TaggingData(base, format="iob2", **roles),
        ),
        (Parser(RELATIONS, base_model=base), ParsingData(base, **roles)),
        (SentenceClassifier(NLI, base_model=base), PairData(base, **roles)),
        (QuestionAnswering(base_model=base), QuestionData(base, **options, **roles)),
    ]:
        batch = next(iter(data.val_dataloader()[0]))
        assert task.evaluate(batch).keys() == task.make_metrics().keys()
        assert task.monitor.removeprefix("val_") in task.make_metrics()


@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_the_optimizer_is_fused_where_gradients_can_be_clipped_all_the_same(tmp_path, precision):
    """One that undoes a loss's scaling itself refuses to be clipped."""
    task = Tagger(labels=LABELS, base_model=save_base(tmp_path / "base"))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    plugins = [MixedPrecision("16-mixed", "cpu", scaler=scaler)] if precision == "16-mixed" else []
    sft = callback(50)
    run = trainer(sft, gradient_clip_val=1.0, plugins=plugins)
    run.fit(task, loader_of(tagging_batches()))
    assert run.optimizers[0].defaults["fused"] is (precision == "32-true")
    assert sft.sft.num_params == 50

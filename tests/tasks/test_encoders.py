"""Every kind of encoder trains as a masked language model and as a tagger, and comes back."""

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForTokenClassification

from ltsft.callbacks import Phase, SparseMaskCallback
from ltsft.sparse import Budget
from ltsft.sparse.scope import owned_by, tied_names
from ltsft.tasks import MaskedLM, Tagger
from tests.callbacks.plain import loader_of, trainer, values
from tests.tiny import CONFIGS, save_base

LABELS = ["A", "B", "C"]


@pytest.fixture(params=list(CONFIGS))
def base(request, tmp_path):
    return save_base(tmp_path / "base", request.param)


def language_batches(num=6):
    generator = torch.Generator().manual_seed(0)
    for _ in range(num):
        ids = torch.randint(5, 60, (4, 12), generator=generator)
        labels = torch.where(torch.rand(ids.shape, generator=generator) < 0.3, ids, -100)
        labels[:, 3] = ids[:, 3]
        masked = torch.where(labels != -100, 4, ids)
        yield {
            "input_ids": masked,
            "attention_mask": torch.ones_like(ids),
            "labels": labels,
            "language": "aa",
        }


def tagging_batches(num=6):
    generator = torch.Generator().manual_seed(1)
    for _ in range(num):
        ids = torch.randint(5, 60, (4, 12), generator=generator)
        yield {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "word_starts": torch.arange(1, 9).repeat(4, 1),
            "labels": torch.randint(0, 3, (4, 8), generator=generator),
            "language": "aa",
        }


def fit(task, batches):
    sft = SparseMaskCallback(
        Budget(num_params=50), dense=Phase(max_steps=4), sparse=Phase(max_steps=5)
    )
    loader = loader_of(batches)
    trainer(sft).fit(task, loader, loader)
    return sft.sft


def test_language_then_task_then_transfer(base):
    """φ_language and φ_task, trained one on the other, add up on a fresh model."""
    language = fit(MaskedLM(base_model=base, learning_rate=1e-2), language_batches())
    language.save_pretrained("language")
    assert language.num_params == 50
    assert language.metadata.language == "aa"
    task_module = Tagger(
        labels=LABELS, base_model=base, base_sfts=["language"], learning_rate=1e-2
    ).eval()
    task = fit(task_module, tagging_batches())
    task_module.eval()
    assert task.metadata.trained_with == ["language"]
    assert task.metadata.labels == LABELS

    model = AutoModelForTokenClassification.from_pretrained(base, num_labels=3).eval()
    batch = next(tagging_batches())
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
    with language.apply(model, whole=False), task.apply(model), torch.no_grad():
        torch.testing.assert_close(
            model(**inputs).logits, task_module.model(**inputs).logits, rtol=0, atol=1e-5
        )


def test_scope_of_a_language_model(base):
    """Normalisation and the output matrix frozen, the rest of the head whole, all else maskable."""
    task = MaskedLM(base_model=base)
    scope = task.scope_rules().resolve(task.sft_root)
    assert tied_names(task.model) == {}
    output = task.model.get_output_embeddings().weight
    names = {name for name, p in task.model.named_parameters() if p is output}
    assert names | owned_by(task.model, "*Norm") <= set(scope.frozen)
    prefix = task.model.base_model_prefix + "."
    assert all(name.startswith(prefix) for name in scope.maskable)
    assert not any(name.startswith(prefix) for name in scope.whole)
    embeddings = task.model.get_input_embeddings().weight
    assert any(task.model.get_parameter(name) is embeddings for name in scope.maskable)


def test_untying_keeps_the_outputs_and_outlasts_tie_weights(base, tmp_path):
    plain = AutoModelForMaskedLM.from_pretrained(base).eval()
    task = MaskedLM(base_model=base).eval()
    batch = next(language_batches())
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
    with torch.no_grad():
        assert torch.equal(task(batch), plain(**inputs).logits)
    task.model.tie_weights()
    task.model.get_input_embeddings().weight.data += 1
    assert tied_names(task.model) == {}
    task.model.save_pretrained(tmp_path / "untied")
    again = AutoModelForMaskedLM.from_pretrained(tmp_path / "untied").eval()
    assert tied_names(again) == {}
    with torch.no_grad():
        torch.testing.assert_close(again(**inputs).logits, task(batch))


def test_what_the_checkpoint_lacks_is_whole(base):
    task = Tagger(labels=LABELS, base_model=base)
    scope = task.scope_rules().resolve(task.sft_root)
    assert any("classifier" in name for name in scope.whole)
    assert not any("classifier" in name for name in scope.maskable)


def test_a_checkpoint_reloads_without_its_base(base, tmp_path):
    import shutil

    module = Tagger(labels=LABELS, base_model=base, learning_rate=1e-2)
    sft = SparseMaskCallback(
        Budget(num_params=50), dense=Phase(max_steps=4), sparse=Phase(max_steps=5)
    )
    run = trainer(sft)
    run.fit(module, loader_of(tagging_batches()), loader_of(tagging_batches()))
    run.save_checkpoint(tmp_path / "a.ckpt")
    shutil.rmtree(base)
    again = Tagger.load_from_checkpoint(tmp_path / "a.ckpt").eval()
    assert again.labels == LABELS
    for name, value in values(module).items():
        assert torch.equal(values(again)[name], value)
    batch = next(tagging_batches())
    with torch.no_grad():
        assert torch.equal(again(batch), module.eval()(batch))

"""MAD-X: what trains, what is saved, what a swap does, and what is refused."""

import copy
import shutil
from dataclasses import asdict

import pytest
import torch
from transformers import AutoModel, AutoModelForTokenClassification

from ltsft.callbacks import LanguageSfts, Phase, SparseMaskCallback
from ltsft.errors import LtsftError
from ltsft.modules.adapters.adapters import Adapters
from ltsft.modules.adapters.insertion import insert_adapters
from ltsft.sparse import AllEntries, NoEntries, SparseFineTuning
from ltsft.tasks import MaskedLM, Tagger
from tests.callbacks.plain import loader_of, trainer, values
from tests.callbacks.test_resume import SaveAt
from tests.tasks.test_encoders import LABELS, language_batches, tagging_batches
from tests.tiny import save_base

OPTIONS = Adapters(language_reduction_factor=2, task_reduction_factor=4)


@pytest.fixture(params=["bert", "xlmr"])
def base(request, tmp_path):
    return save_base(tmp_path / "base", request.param)


@pytest.fixture
def bert(tmp_path):
    return save_base(tmp_path / "base")


def language_model(base, **settings):
    options = {"adapters": OPTIONS, "learning_rate": 1e-2}
    return MaskedLM(base_model=base, **options | settings)


def tagger(base, **settings):
    torch.manual_seed(3)  # of the head
    options = {"adapters": OPTIONS, "learning_rate": 1e-2}
    return Tagger(labels=LABELS, base_model=base, **options | settings)


def fit(task, batches, *callbacks, seed=0, ckpt_path=None, **settings):
    """Train for 5 steps in one phase; returns the fine-tuning."""
    torch.manual_seed(seed)
    sft = SparseMaskCallback(
        selection=settings.pop("selection", NoEntries()), sparse=Phase(max_steps=5)
    )
    loader = loader_of(batches)
    trainer(sft, *callbacks, **settings).fit(task.train(), loader, loader, ckpt_path=ckpt_path)
    return sft.sft


def moved(task, before):
    return {name for name, value in values(task.model).items() if not value.equal(before[name])}


def slot_names(task, slot):
    names = [name for name, _ in task.model.named_parameters()]
    found = {name for name in names if f".output.adapters.{slot}." in name}
    if slot == "language":
        found |= {name for name in names if ".embeddings.invertible." in name}
    return found


def logits(task, batch=None):
    with torch.no_grad():
        return copy.deepcopy(task).eval()(batch or next(tagging_batches()))


# One of two layers has adapters: 4 tensors a slot, and 8 of the invertible adapter.


def test_a_language_moves_its_adapters_alone(base):
    """Every pretrained entry, the head's as well, stays bit for bit; weight decay or not."""
    task = language_model(base, weight_decay=0.1)
    before = values(task.model)
    sft = fit(task, language_batches())
    assert len(slot_names(task, "language")) == 12
    assert moved(task, before) == slot_names(task, "language") == sft.whole.keys()
    assert not sft.entries
    assert sft.metadata.slots == {"language": task.model.adapter_slots["language"]}
    assert sft.metadata.language == "aa"
    assert sft.metadata.num_params == 0
    assert list(sft.metadata.phases) == ["sparse"]
    state = task.model.state_dict()
    for name, value in sft.whole.items():
        assert torch.equal(value, state[name])


def test_a_task_moves_its_adapters_and_the_head_over_the_languages(base):
    language = fit(language_model(base), language_batches())
    language.save_pretrained("language")
    task = tagger(base, base_sfts=["language"])
    before = values(task.model)
    for name, value in language.whole.items():
        assert torch.equal(before[name], value)
    sft = fit(task, tagging_batches())
    head = {"classifier.weight", "classifier.bias"}
    assert moved(task, before) == slot_names(task, "task") | head == sft.whole.keys()
    assert sft.metadata.trained_with == ["language"]
    assert sft.metadata.labels == LABELS
    assert list(sft.metadata.slots) == ["task"]


def test_training_starts_near_zero_and_from_the_seed(bert):
    """The random start is drawn when training begins; before, the slot is as if it were not."""
    plain = MaskedLM(base_model=bert)
    batch = next(language_batches())
    task = language_model(bert)
    assert torch.equal(logits(task, batch), logits(plain, batch))
    starts = []
    for seed in (0, 0, 1):
        task = language_model(bert, learning_rate=0.0)
        fit(task, language_batches(), seed=seed)
        starts.append(values(task.model)["bert.encoder.layer.0.output.adapters.language.up.weight"])
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])
    assert starts[0].std().item() == pytest.approx(0.02, rel=0.4)


def test_an_adapter_is_trained_further_where_base_sfts_bring_one(bert):
    first = fit(language_model(bert), language_batches())
    first.save_pretrained("first")
    again = language_model(bert, base_sfts=["first"], learning_rate=0.0)
    assert fit(again, language_batches()) == first


@pytest.mark.parametrize("stacking", ["code", "paper"])
def test_every_parameter_that_trains_gets_a_gradient(base, stacking):
    """So that DDP, which waits for all of them, does not raise."""
    options = Adapters(2, 4, stacking=stacking)
    for task, batch in (
        (language_model(base, adapters=options), next(language_batches())),
        (tagger(base, adapters=options), next(tagging_batches())),
    ):
        task._adapter.fill()
        task.training_loss(batch).mean.backward()
        trained = {name for name, p in task.model.named_parameters() if p.requires_grad}
        graded = {name for name, p in task.model.named_parameters() if p.grad is not None}
        assert trained == graded
        assert slot_names(task, task.trained_slot) <= trained


def test_files_bring_everything_back(bert):
    trained = language_model(bert)
    sft = fit(trained, language_batches())
    sft.save_pretrained("language")
    again = SparseFineTuning.from_pretrained("language")
    assert again == sft
    assert again.metadata == sft.metadata
    batch = next(language_batches())
    expected = logits(trained, batch)
    assert torch.equal(logits(language_model(bert, base_sfts=["language"]), batch), expected)
    assert not torch.equal(logits(language_model(bert), batch), expected)


@pytest.mark.parametrize("stacking", ["code", "paper"])
def test_languages_are_swapped_bit_for_bit(base, stacking):
    """Each language with block and inverse of its own, one without, as models built for it."""
    options = Adapters(2, 4, stacking=stacking)
    for seed, language in enumerate(("aa", "bb")):
        sft = fit(language_model(base, adapters=options), language_batches(), seed=seed)
        sft.save_pretrained(language)
    fit(tagger(base, base_sfts=["aa"], adapters=options), tagging_batches()).save_pretrained("task")
    batch = next(tagging_batches())
    alone = {
        language: logits(tagger(base, base_sfts=[*under, "task"], adapters=options))
        for language, under in (("aa", ["aa"]), ("bb", ["bb"]), ("cc", []))
    }
    assert len({tuple(out.flatten().tolist()) for out in alone.values()}) == 3

    class Recorder(Tagger):
        def score(self, batch, metrics):
            seen.append((batch["language"], self(batch)))
            super().score(batch, metrics)

    seen = []
    task = Recorder(base_model=base, base_sfts=["task"], adapters=options).eval()
    before = values(task.model)
    order = ("aa", "bb", "cc", "aa")
    batches = [batch | {"language": language} for language in order]
    trainer(LanguageSfts({"aa": "aa", "bb": "bb"})).test(task, loader_of(batches), verbose=False)
    assert [language for language, _ in seen] == list(order)
    for language, out in seen:
        assert torch.equal(out, alone[language]), language
    assert moved(task, before) == set()


def test_many_sources_each_with_its_adapter(bert):
    """In training: a source's adapter is in place for its batches and gone in the end."""
    for seed, language in enumerate(("aa", "bb")):
        fit(language_model(bert), language_batches(), seed=seed).save_pretrained(language)
    files = {code: SparseFineTuning.from_pretrained(code).whole for code in ("aa", "bb")}

    class Recorder(Tagger):
        def training_loss(self, batch):
            name = "bert.embeddings.invertible.f.up.weight"
            weight = self.model.get_parameter(name)
            seen.append(weight.equal(files[batch["language"]][name]))
            return super().training_loss(batch)

    seen = []
    task = Recorder(labels=LABELS, base_model=bert, adapters=OPTIONS, learning_rate=1e-2)
    before = values(task.model)
    batches = [b | {"language": "ab"[n % 2] * 2} for n, b in enumerate(tagging_batches())]
    sft = fit(task, batches, LanguageSfts({"aa": "aa", "bb": "bb"}))
    assert seen == [True] * 5
    assert moved(task, before) == sft.whole.keys()
    assert not any(name in sft.whole for name in slot_names(task, "language"))


def test_resuming_is_bit_identical(bert, tmp_path):
    """With dropout, after each pass of 2 batches, from a module with other random numbers."""
    fit(language_model(bert), language_batches()).save_pretrained("language")
    batches, saver = list(tagging_batches(2)), SaveAt(tmp_path, "on_validation_end")
    task = tagger(bert, base_sfts=["language"])
    expected = fit(task, batches, saver)
    paths = sorted(tmp_path.glob("*.ckpt"))
    assert [path.stem for path in paths] == ["2", "4", "5"]
    for path in paths:
        again = tagger(bert, base_sfts=["language"])
        assert fit(again, batches, seed=9, ckpt_path=path) == expected, path.stem
        for name, value in values(task.model).items():
            assert torch.equal(values(again.model)[name], value), (path.stem, name)


def test_a_checkpoint_makes_its_slots_again_without_the_base(base, tmp_path):
    """Its metadata too: options and the digests of a base that is no longer there."""
    task = tagger(base)
    sft = SparseMaskCallback(selection=NoEntries(), sparse=Phase(max_steps=5))
    run = trainer(sft)
    run.fit(task, loader_of(tagging_batches()), loader_of(tagging_batches()))
    run.save_checkpoint(tmp_path / "a.ckpt")
    shutil.rmtree(base)
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)["hyper_parameters"]
    assert saved["adapters"] == asdict(OPTIONS)
    again = Tagger.load_from_checkpoint(tmp_path / "a.ckpt")
    assert again.adapters == OPTIONS
    assert torch.equal(logits(again), logits(task))
    about = again.sft_metadata()
    assert about["slots"] == sft.sft.metadata.slots
    assert about["base_digests"] == sft.sft.metadata.base_digests
    names = {name for name, p in task.model.named_parameters() if p.requires_grad}
    assert {name for name, p in again.model.named_parameters() if p.requires_grad} == names


def test_full_fine_tuning_is_one_phase_over_all_maskable_entries(bert):
    task = Tagger(labels=LABELS, base_model=bert, learning_rate=1e-2)
    maskable = task.scope_rules().resolve(task.model).maskable
    sft = fit(task, tagging_batches(), selection=AllEntries())
    assert list(sft.metadata.phases) == ["sparse"]
    assert sft.num_params == sum(task.model.get_parameter(n).numel() for n in maskable)
    model = AutoModelForTokenClassification.from_pretrained(bert, num_labels=3)
    sft.apply(model)
    for name, value in values(task.model).items():
        torch.testing.assert_close(model.get_parameter(name).detach(), value, rtol=1e-6, atol=1e-7)


class TestRefusals:
    @pytest.fixture
    def language(self, bert):
        fit(language_model(bert), language_batches()).save_pretrained("language")
        return "language"

    @pytest.fixture
    def task(self, bert, language):
        fit(tagger(bert, base_sfts=[language]), tagging_batches()).save_pretrained("task")
        return "task"

    def test_no_slots(self, bert, language):
        with pytest.raises(LtsftError, match="adapter slot `language`, but BertForTok.* has none"):
            tagger(bert, base_sfts=[language], adapters=None)

    def test_no_slot_for_a_language(self, bert, language):
        with pytest.raises(LtsftError, match="adapter slot `language`, but .* has none; give the"):
            tagger(bert, base_sfts=[language], adapters=Adapters(None, 4))

    def test_a_task_in_a_language_model(self, bert, task):
        with pytest.raises(LtsftError, match="adapter slot `task`, but BertForMaskedLM has none"):
            language_model(bert, base_sfts=[task])

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"language_reduction_factor": 4}, "`width` 8 as in training, but it is 4"),
            ({"leave_out": [0]}, r"`layers` \[0\] as in training, but it is \[1\]"),
            ({"activation": "gelu"}, "`activation` relu as in training, but it is gelu"),
            ({"invertible": False}, "`invertible_width` 4 as in training, but it is None"),
            ({"invertible_activation": "gelu"}, "`invertible_activation` relu .* it is gelu"),
        ],
    )
    def test_other_options_for_languages(self, bert, language, change, message):
        options = Adapters(**asdict(OPTIONS) | change)
        with pytest.raises(LtsftError, match="adapter slot `language` has " + message) as caught:
            tagger(bert, base_sfts=[language], adapters=options)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"task_reduction_factor": 2}, "`width` 4 as in training, but it is 8"),
            ({"stacking": "paper"}, "`stacking` code as in training, but it is paper"),
            ({"invertible": False}, "`over.invertible_width` 4 as in training, but it is None"),
            ({"language_reduction_factor": 4}, "`over.width` 8 as in training, but it is 4"),
            ({"language_reduction_factor": None}, "`over.hidden_size` 16 .* but it is None"),
        ],
    )
    def test_other_options_for_tasks(self, bert, task, change, message):
        with pytest.raises(LtsftError, match="adapter slot `task` has " + message):
            tagger(bert, base_sfts=[task], adapters=Adapters(**asdict(OPTIONS) | change))

    def test_another_base(self, language, tmp_path):
        other = save_base(tmp_path / "other", seed=1)
        with pytest.raises(LtsftError, match="weights it was trained from .*output.dense.weight"):
            tagger(other, base_sfts=[language])

    def test_a_language_that_does_not_suit_at_test_time(self, bert, task):
        wide = Adapters(language_reduction_factor=1, task_reduction_factor=4)
        sft = fit(language_model(bert, adapters=wide), language_batches())
        sft.save_pretrained("wide")
        run = trainer(LanguageSfts({"aa": "wide"}))
        with pytest.raises(LtsftError, match="`width` 16 as in training, but it is 8"):
            run.test(tagger(bert, base_sfts=[task]), loader_of(tagging_batches()))

    def test_a_selection_that_needs_entries(self, bert):
        with pytest.raises(LtsftError, match="none is maskable; loosen it, or set .*NoEntries"):
            fit(tagger(bert), tagging_batches(), selection=AllEntries())

    @pytest.mark.parametrize("kind", ["distilbert", "modernbert"])
    def test_other_encoders(self, tmp_path, kind):
        with pytest.raises(LtsftError, match=f"bert, roberta, xlm-roberta, but got {kind}"):
            language_model(save_base(tmp_path / "other", kind))


def test_a_bare_encoder_takes_a_languages_adapters(bert):
    """Without the head's prefix in its names."""
    sft = fit(language_model(bert), language_batches())
    model = AutoModel.from_pretrained(bert)
    insert_adapters(model, OPTIONS)
    with sft.apply(model):
        for name, value in sft.whole.items():
            assert torch.equal(model.get_parameter(name.removeprefix("bert.")), value)


def test_a_masked_lm_head_without_weights_trains(tmp_path):
    """What has a random start cannot be "as pretrained": it is trained, and saved."""
    save_base(tmp_path / "full")
    encoder = AutoModel.from_pretrained(tmp_path / "full", add_pooling_layer=False)
    encoder.save_pretrained(tmp_path / "bare")
    sft = fit(language_model(str(tmp_path / "bare")), language_batches())
    assert {name for name in sft.whole if not name.startswith("bert.")} == {
        "cls.predictions.transform.dense.weight",
        "cls.predictions.transform.dense.bias",
        "cls.predictions.transform.LayerNorm.weight",
        "cls.predictions.transform.LayerNorm.bias",
        "cls.predictions.decoder.bias",
    }

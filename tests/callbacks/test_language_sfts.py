"""The right language's difference is in place for each batch, and gone afterwards."""

import lightning
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from ltsft.callbacks import LanguageSfts
from ltsft.errors import LtsftError
from ltsft.sparse import SparseDelta, SparseFineTuning
from tests.callbacks.plain import trainer

SHIFTS = {"aa": 1.0, "bb": 2.0}


class Recorder(lightning.LightningModule):
    """Notes the value of its one weight for each batch's language."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.layer.weight, 10.0)
        self.seen = []

    def _note(self, batch, *_):
        self.seen.append((batch["language"], self.layer.weight.item()))

    def test_step(self, batch, batch_idx, dataloader_idx=0):
        self._note(batch)

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self._note(batch)

    def predict_step(self, batch, batch_idx, dataloader_idx=0):
        self._note(batch)

    def training_step(self, batch, batch_idx):
        self._note(batch)
        return self.layer.weight.sum() * 0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


class Data(lightning.LightningDataModule):
    def __init__(self, languages=("aa", "bb", "cc")):
        super().__init__()
        self.codes = languages

    def languages(self, stage):
        return list(self.codes)

    def _loaders(self):
        return [
            DataLoader([{"language": code}] * 2, batch_size=None, collate_fn=dict)
            for code in self.codes
        ]

    def train_dataloader(self):
        return self._loaders()[0]

    test_dataloader = val_dataloader = predict_dataloader = _loaders


@pytest.fixture
def paths(tmp_path):
    for code, shift in SHIFTS.items():
        delta = SparseDelta((1, 1), torch.tensor([0]), torch.tensor([shift]))
        head = {"layer.extra": torch.ones(1)}  # a head that this model cannot take
        SparseFineTuning({"layer.weight": delta}, head).save_pretrained(tmp_path / code)
    return {code: str(tmp_path / code) for code in SHIFTS}


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_each_language_gets_its_own(paths, command):
    module = Recorder()
    getattr(trainer(LanguageSfts(paths)), command)(module, Data())
    expected = {"aa": 11.0, "bb": 12.0, "cc": 10.0}
    assert module.seen == [(code, value) for code, value in expected.items() for _ in range(2)]
    assert module.layer.weight.item() == 10.0


def test_fine_tunings_in_memory_are_taken(paths):
    module = Recorder()
    loaded = SparseFineTuning.from_pretrained(paths["aa"])
    trainer(LanguageSfts({"aa": loaded, "bb": paths["bb"]})).test(module, Data(["aa", "bb"]))
    assert module.seen == [("aa", 11.0)] * 2 + [("bb", 12.0)] * 2


def test_a_wrong_language_can_be_asked_for(paths):
    module = Recorder()
    trainer(LanguageSfts({"aa": paths["bb"]})).test(module, Data(["aa"]))
    assert module.seen[0] == ("aa", 12.0)


def test_in_training_it_is_in_place_for_each_batch(paths):
    """In the batches of training and validation; off in between, where an optimizer would step."""
    module = Recorder()
    trainer(LanguageSfts(paths), max_epochs=1, num_sanity_val_steps=0).fit(module, Data())
    expected = {"aa": 11.0, "bb": 12.0, "cc": 10.0}
    assert module.seen == [("aa", 11.0)] * 2 + [
        (code, value) for code, value in expected.items() for _ in range(2)
    ]
    assert module.layer.weight.item() == 10.0


def test_it_is_taken_off_after_an_error(paths):
    class Fails(Recorder):
        def test_step(self, batch, batch_idx, dataloader_idx=0):
            raise KeyError("inside")

    module = Fails()
    with pytest.raises(KeyError, match="inside"):
        trainer(LanguageSfts(paths)).test(module, Data())
    assert module.layer.weight.item() == 10.0


def test_a_code_that_the_data_lack_is_refused(paths):
    run = trainer(LanguageSfts(paths | {"zz": paths["aa"]}))
    with pytest.raises(LtsftError, match=r"keys \(aa, bb, cc\), but got zz"):
        run.test(Recorder(), Data())


def test_a_missing_file_is_found_before_the_first_batch(tmp_path):
    module = Recorder()
    with pytest.raises(LtsftError, match="no such file"):
        trainer(LanguageSfts({"cc": str(tmp_path / "none")})).test(module, Data())
    assert module.seen == []


def shifted(code, shift):
    delta = SparseDelta((1, 1), torch.tensor([0]), torch.tensor([shift]))
    return {code: SparseFineTuning({"layer.weight": delta})}


def loader(*batches):
    return DataLoader(list(batches), batch_size=None, collate_fn=dict)


def test_a_batch_as_torch_collates_it():
    """One language, said for each example."""
    module = Recorder()
    trainer(LanguageSfts(shifted("aa", 1.0))).test(module, loader({"language": ["aa", "aa"]}))
    assert module.seen == [(["aa", "aa"], 11.0)]


@pytest.mark.parametrize(
    "batch", [{}, *({"language": said} for said in (["aa", "bb"], torch.ones(1), [], {"aa": 1}))]
)
def test_a_batch_that_does_not_say_its_language(batch):
    """It would be scored without any fine-tuning."""
    run = trainer(LanguageSfts(shifted("aa", 1.0)))
    with pytest.raises(LtsftError, match=r"`batch\[\"language\"\]` is expected to be the one"):
        run.test(Recorder(), loader(batch))


def test_fine_tunings_of_other_languages_than_there_are():
    run = trainer(LanguageSfts(shifted("hbs", 1.0)))
    with pytest.warns(match="has hbs, but batches are of hsb: no fine-tuning was put in place"):
        run.test(Recorder(), loader({"language": "hsb"}, {"language": "hsb"}))

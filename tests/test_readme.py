"""What the README shows works as shown, with small stand-ins for what it names."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForTokenClassification

from ltsft.sparse import ScopeRules, SparseFineTuning
from tests.callbacks.plain import Plain, callback, data, loader_of, trainer
from tests.commands.test_convert import publish
from tests.documented import ROOT, callbacks, compose, link_runs

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^\|[^|]*\| `(ltsft [^`]*)` \|$", README, re.MULTILINE)


def python_with(text: str) -> str:
    """The one Python block that has a text in it."""
    (block,) = [block for language, block in BLOCKS if language == "python" and text in block]
    return block


@pytest.fixture
def runs(trained):
    """The folders that the README names, with what was trained on a tiny model in them."""
    link_runs(trained)
    return trained


def test_two_fine_tunings_in_a_dozen_lines(runs):
    """After the block θ⁰ + φ_task and its head are in place, every bit of φ_language is gone."""
    block = python_with("SparseFineTuning.from_pretrained")
    seen = {}
    inside = block.replace("    ...  ", "    seen.update(values(model))  ")
    assert inside != block

    def values(model):
        return {name: p.detach().clone() for name, p in model.named_parameters()}

    names = {"seen": seen, "values": values}
    exec(inside, names)
    expected = AutoModelForTokenClassification.from_pretrained(runs.base, num_labels=17)
    names["task"].apply(expected)
    for name, value in values(expected).items():
        assert torch.equal(names["model"].get_parameter(name), value)
    names["language"].apply(expected, whole=False)
    for name, value in values(expected).items():
        assert torch.equal(seen[name], value)
    assert not torch.equal(
        seen["bert.embeddings.word_embeddings.weight"],
        names["model"].bert.embeddings.word_embeddings.weight,
    )


def test_the_models_own_labels_and_type(runs):
    """`id2label` survives in the model, and so do all differences."""
    names = {}
    exec(python_with("SparseFineTuning.from_pretrained"), names)
    labels = names["task"].metadata.labels
    assert names["model"].config.id2label == dict(enumerate(labels))
    assert names["model"].dtype == torch.float32


def test_words_in_tags_out(runs):
    """Judged by the model of the block before, put together by hand."""
    names = {"task": SparseFineTuning.from_pretrained("runs/pos-en")}
    exec(python_with("tagger.tag").replace("tagger.tag", "tags = tagger.tag"), names)
    ((*tags,),) = names["tags"]
    assert len(tags) == 3
    assert set(tags) <= set(names["task"].metadata.labels)
    model = AutoModelForTokenClassification.from_pretrained(runs.base, num_labels=17)
    names["task"].apply(model)
    SparseFineTuning.from_pretrained("runs/hsb").apply(model, whole=False)
    for name, value in model.named_parameters():
        assert torch.equal(names["tagger"].model.get_parameter(name), value)


def test_what_a_module_says_makes_it_compose(runs):
    """Trained by a module as shown, applied to the plain model that it is relative to."""
    from lightning import LightningModule

    names = {"LightningModule": LightningModule, "LABELS": ["A", "B", "C"]}
    exec(python_with("def sft_root"), names)

    class Mine(names["MyTagger"]):
        def __init__(self):
            super().__init__()
            self.model = AutoModelForTokenClassification.from_pretrained(runs.base, num_labels=3)

        def training_step(self, batch, batch_idx):
            return self.model(input_ids=batch, labels=batch % 3).loss

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), lr=0.01)

    sft = callback(scope=ScopeRules(whole=["classifier"]))
    torch.manual_seed(0)
    trainer(sft).fit(Mine(), loader_of([torch.randint(5, 60, (2, 7)) for _ in range(4)]))
    assert sft.sft.metadata.labels == ["A", "B", "C"]
    plain = AutoModelForTokenClassification.from_pretrained(runs.base, num_labels=3)
    sft.sft.apply(plain)
    (sft.sft + SparseFineTuning.from_pretrained("runs/hsb").without_whole()).apply(
        AutoModelForTokenClassification.from_pretrained(runs.base, num_labels=3)
    )


def test_the_method_in_five_lines():
    """Exactly K entries differ from θ⁰ and the head trains, under any loop."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.classifier = nn.Linear(60, 60), nn.Linear(60, 3)

        def forward(self, x):
            return self.classifier(self.encoder(x).tanh())

    torch.manual_seed(0)
    model, x, y = Model(), torch.randn(64, 60), torch.randint(0, 3, (64,))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}

    def train(model, optimizer=None):
        optimizer = optimizer or torch.optim.AdamW(model.parameters())
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()

    names = {"model": model, "train": train, "torch": torch}
    exec(python_with("ticket.rewind"), names)
    moved = {n: int((p != before[n]).sum()) for n, p in model.named_parameters()}
    assert moved["encoder.weight"] + moved["encoder.bias"] == 1000
    assert moved["classifier.weight"] == 180
    assert SparseFineTuning.from_pretrained("runs/mine") == names["sft"]
    assert names["sft"].num_params == 1000
    assert names["sft"].whole.keys() == {"classifier.weight", "classifier.bias"}


def test_training_with_one_more_line(capsys):
    """K of the maskable entries move, and the head as the text says: wholly."""

    class Mine(Plain):
        def __init__(self):
            super().__init__()
            self.head = self.layers.pop(3)  # its last layer

        def loss(self, batch):
            return nn.functional.mse_loss(self.head(self.layers(batch[0])), batch[1])

    module = Mine()
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    names = {"your_module": module, "your_data": data()}
    exec(python_with("SparseMaskCallback"), names)
    sft = names["sft"].sft
    maskable = sum(p.numel() for p in module.layers.parameters())
    assert sft.num_params == round(0.05 * maskable)
    assert sft.whole.keys() == {"head.weight", "head.bias"}
    assert (module.head.weight != before["head.weight"]).all()
    assert repr(sft) in capsys.readouterr().out
    (written,) = Path().rglob("sft.safetensors")
    assert written.parent.name == "sft"
    assert SparseFineTuning.load(written) == sft


def test_a_reader_of_the_file_in_a_few_lines(trained):
    """It gets every difference of a real file, and what is said about it."""
    Path("sft.safetensors").symlink_to(Path(trained.task, "sft/sft.safetensors"))

    class Recorded(dict):
        """Keeps all that the block calls `delta`, one after the other."""

        deltas: dict[str, torch.Tensor] = {}

        def __setitem__(self, key, value):
            super().__setitem__(key, value)
            if key == "delta":
                self.deltas[self["name"]] = value

    names = Recorded()
    exec(python_with("safe_open"), {}, names)
    sft = SparseFineTuning.load("sft.safetensors")
    assert names.deltas.keys() == sft.entries.keys()
    for name, delta in sft.entries.items():
        expected = torch.zeros(delta.shape)
        for position, value in zip(delta.indices.tolist(), delta.values.tolist(), strict=True):
            expected.view(-1)[position] = value
        assert torch.equal(names.deltas[name], expected)
    assert names["about"]["labels"] == sft.metadata.labels
    assert names["about"]["base_model"] == trained.base


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_table(command, runs, ltsft):
    """Fits and tests build, with the base model replaced; all others run."""
    name = shlex.split(command)[1]
    if name in ("fit", "test"):
        assert callbacks(compose(command, runs)).count("SparseMaskCallback") == (name == "fit")
        return
    Path("hsb.txt").write_text("w1 w2!\nw3\n")
    options = {"compose": ["--base", runs.base], "study": ["--dry-run"]}
    options["convert"] = ["--base", runs.base] if "--base" in command else []
    options["predict"] = ["--model.base_model", runs.base, "--data.max_length", "24"]
    if "--as-sft" in command:
        options = {}
    Path("cambridgeltl").mkdir()
    publish(SparseFineTuning.from_pretrained("runs/hsb"), "cambridgeltl/mbert-lang-sft-hsb-small")
    AutoModelForTokenClassification.from_pretrained(runs.base).save_pretrained("my-tagger")
    _, err = ltsft(*shlex.split(command)[1:], *options.get(name, []))
    assert err == []
    if "--as-sft" in command:
        assert SparseFineTuning.from_pretrained("runs/pos-hsb").metadata.task == "pos"
    elif name == "compose":
        AutoModelForTokenClassification.from_pretrained("tagger-hsb")
    if name == "predict":
        assert Path("runs/pos-en/predict/predictions/hsb.conllu").read_text().count("\n") == 6
    if name == "overlap":
        assert Path("overlap.png").is_file()


def test_there_is_a_command_of_each_kind():
    assert {command.split()[1] for command in COMMANDS} == {
        "fit", "test", "predict", "compose", "convert", "inspect", "overlap", "study",
        "completion",
    }  # fmt: skip


def test_the_two_commands_that_set_everything_up():
    """Install and quickstart, install and tests; each alone in a block."""
    blocks = [block.strip() for language, block in BLOCKS if not language]
    assert "pip install -e . && ltsft study configs/study/quickstart.yaml" in blocks
    assert "pip install -e '.[test]' && pytest -n 2" in blocks


def test_the_quickstarts_table_is_of_its_config():
    from ltsft.commands.study import make_parser, make_study

    parser = make_parser()
    path = str(ROOT / "configs/study/quickstart.yaml")
    study = make_study(parser, parser.parse_args(["--config", path]))
    header = f"| target | task SFT alone | + {study.source} | + wrong | + target's |"
    assert header in README
    _, table = README.split(header)
    rows = table.split("\n\n")[0].strip().splitlines()[1:]
    assert [row.split("|")[1].strip() for row in rows] == study.targets


@pytest.mark.parametrize("flags", ["--help", "--model.help Tagger", "--help all"])
def test_what_shows_options(flags, ltsft):
    assert flags in README.replace("\n", " ")
    out, err = ltsft("fit", *flags.split())
    assert err == []
    assert "learning_rate" in out or "--model" in out


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)\s]+)\)", README):
        if not target.startswith(("http:", "https:", "#")):
            assert (ROOT / target).exists(), target

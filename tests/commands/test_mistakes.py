"""Whatever a user can get wrong ends with status 2 and one line that says what, and the way out."""

import json
import re
from pathlib import Path

import pytest
import torch

from ltsft.terminal.complaints import in_words
from tests import tiny
from tests.trained import QUICK, TAGGER, TEXT

BUDGET = "--sparse.budget.density"

FIT = [
    "fit", *TAGGER, "--model.base_model", "{base}", "--data.train", "{{aa: {treebank}}}",
    "--data.validation", "{{aa: {treebank}}}", *QUICK, "--trainer.default_root_dir", "out",
]  # fmt: skip
LANGUAGE = [
    "fit", "--model", "MaskedLM", "--model.base_model", "{base}", *TEXT, "--data.text", "{text}",
    *QUICK, "--trainer.default_root_dir", "out",
]  # fmt: skip
TEST = [
    "test", *TAGGER, "--model.base_model", "{base}", "--model.base_sfts", "[{task}]",
    "--data.test", "{{aa: {treebank}}}", "--trainer.default_root_dir", "out",
]  # fmt: skip
CHECKPOINT = [
    "test", *TAGGER[2:], "--data.test", "{{aa: {treebank}}}", "--trainer.default_root_dir", "out",
]  # fmt: skip


def without(command: list[str], option: str) -> list[str]:
    place = command.index(option)
    return command[:place] + command[place + 2 :]


def with_value(command: list[str], option: str, value: str) -> list[str]:
    place = command.index(option)
    return [*command[: place + 1], value, *command[place + 2 :]]


MISTAKES = {
    # ---------------------------------------------------------------- the two phases
    "no budget": (
        without(FIT, BUDGET),
        "`sparse.budget` is expected to be given, but is missing; set one of",
    ),
    "a budget of nothing": ([*without(FIT, BUDGET), "--sparse.budget", "{{}}"], "but got none"),
    "more than is maskable": (
        [*without(FIT, BUDGET), "--sparse.budget.num_params", "999999"],
        "at most the 5,984 maskable entries, but num_params: 999,999 asks for 999,999; lower it",
    ),
    "a density above 1": (with_value(FIT, BUDGET, "1.5"), "`sparse.budget.density` .* but got 1.5"),
    "a budget that is implied": (
        [*FIT, "--sparse.selection", "Biases"],
        "`sparse.budget` is expected to be left out with `Biases`",
    ),
    "a pattern that matches nothing": (
        [*FIT, "--sparse.scope.frozen", "[nothing.like.it]"],
        "`scope.frozen` .* 'nothing.like.it' matches none of the .*; correct or remove the rule",
    ),
    "a metric that never appears": (
        [*FIT, "--sparse.monitor", "val_bleu", "--sparse.mode", "max"],
        "`sparse.monitor` .* 'val_bleu' is none of val_accuracy, val_loss",
    ),
    "a metric without validation": (
        [
            *without(FIT, "--data.validation"),
            *["--sparse.monitor", "val_loss", "--sparse.mode", "min"],
        ],
        "'val_loss' never appears without one; give validation data or leave it out",
    ),
    "a metric without a mode": (
        [*FIT, "--sparse.monitor", "val_bleu"],
        "`sparse.mode` is expected to be `min` or `max`",
    ),
    "a phase of no steps": (
        with_value(FIT, "--sparse.dense.max_steps", "0"),
        "`max_steps` of a phase is expected to be 1 or more, but got 0; leave a phase out by",
    ),
    "a phase of no length": (
        with_value(FIT, "--sparse.sparse.max_steps", "null"),
        "`max_steps` or `max_epochs`, but got neither; set `sparse.dense.max_steps`",
    ),
    "the Trainer's epochs": (
        [*FIT, "--trainer.max_epochs", "3"],
        "`trainer.max_epochs` is expected to be left out .* set lengths in `sparse.dense`",
    ),
    "the Trainer's steps": (
        [*FIT, "--trainer.max_steps", "3"],
        "`trainer.max_steps` is expected to be left out",
    ),
    "EarlyStopping": (
        [*FIT, "--trainer.callbacks", "[{{class_path: EarlyStopping, init_args: {{monitor: x}}}}]"],
        "`trainer.callbacks` is expected to be without EarlyStopping.*`sparse.dense.patience`",
    ),
    # ---------------------------------------------------------------- models
    "no such base, in a folder": (
        with_value(FIT, "--model.base_model", "./nothing"),
        "`model.init_args.base_model` is expected to be a folder with a pretrained model, or .* "
        "but there is no folder './nothing'",
    ),
    "no such base, on the hub": (
        with_value(FIT, "--model.base_model", "nobody/nothing"),
        "`model.init_args.base_model` is expected to be .* 'nobody/nothing' cannot be loaded",
    ),
    "no base": (
        without(FIT, "--model.base_model"),
        "`model.init_args.base_model` is expected to be given, but is missing",
    ),
    "no such SFT": (
        with_value(TEST, "--model.base_sfts", "[missing]"),
        "`missing` is expected to be the file or folder of a sparse fine-tuning",
    ),
    "a checkpoint for an SFT": (
        with_value(TEST, "--model.base_sfts", "[{checkpoint}]"),
        "is expected to be a safetensors file, but cannot be read",
    ),
    "an SFT of another base": (
        with_value(TEST, "--model.base_model", "{other}"),
        "applied to the weights it was trained from .*; load that model",
    ),
    "no such language SFT": (
        [*TEST, "--languages.sfts", "{{aa: missing}}"],
        "`missing` is expected to be the file or folder of a sparse fine-tuning",
    ),
    "an SFT for a language without data": (
        [*TEST, "--languages.sfts", "{{zz: missing}}"],
        "`languages.sfts`|`missing`",
    ),
    "no labels": (
        without(TEST, "--model.base_sfts"),
        "`model.init_args.labels` .*; name the task's fine-tuning in `model.init_args.base_sfts`, "
        "which has them, or give them",
    ),
    # ---------------------------------------------------------------- data
    "labels that the model has none of": (
        with_value(TEST, "--data.test", "{{aa: disjoint.conllu}}"),
        r"`data.init_args.test.aa` \(disjoint.conllu\) is expected to have some of the labels ADJ, "
        ".* but it has only AA, BB; check `labels`, which column they are taken from, and how",
    ),
    "a missing file": (
        with_value(FIT, "--data.train", "{{aa: missing.conllu}}"),
        "`data.init_args.train.aa` .* 'missing.conllu' is neither a file, nor .*: no such file",
    ),
    "a missing text": (
        with_value(LANGUAGE, "--data.text", "missing.txt"),
        "`data.init_args.text` is expected to be where data is, but 'missing.txt'",
    ),
    "an empty text": (
        with_value(LANGUAGE, "--data.text", "empty.conllu"),
        "`data.init_args.text` is expected to have text, but empty.conllu has only blanks",
    ),
    "broken CoNLL-U": (
        with_value(FIT, "--data.train", "{{aa: broken.conllu}}"),
        "broken.conllu, line 2: a line is expected to have 10 columns separated by tabs, but got 1",
    ),
    "empty CoNLL-U": (
        with_value(FIT, "--data.train", "{{aa: empty.conllu}}"),
        "empty.conllu is expected to have at least one sentence",
    ),
    "no such artificial language": (
        with_value(FIT, "--data.train", "{{aa: 'artificial:klingon'}}"),
        "one of alora, .* but got 'klingon'",
    ),
    "no training data": (
        without(FIT, "--data.train"),
        "`data.init_args.train` is expected to give data, but it is empty; add for example",
    ),
    "no test data": (without(TEST, "--data.test"), "`data.init_args.test` is expected to give"),
    "a limit of none": (
        with_value(FIT, "--data.train", "{{aa: {{path: {treebank}, limit: 0}}}}"),
        "`limit` of the data source .* 1 or more, but got 0; leave it out to read everything",
    ),
    "sequences longer than the model takes": (
        with_value(FIT, "--data.max_length", "999"),
        "`data.init_args.max_length` is expected to be .* at most 64",
    ),
    "data with labels for a language model": (
        ["test", "--model", "MaskedLM", "--model.base_model", "{base}", *CHECKPOINT[1:]],
        "`data` is expected to have raw text for MaskedLM, but TaggingData has labels",
    ),
    "raw text for a tagger": (
        [
            *["test", "--model", "Tagger", "--model.base_model", "{base}"],
            *["--model.base_sfts", "[{task}]", *TEXT, "--data.text", "{text}"],
        ],
        "`data` is expected to have labels for Tagger, but TextData has raw text",
    ),
    # ---------------------------------------------------------------- checkpoints
    "a missing checkpoint": (
        [*CHECKPOINT, "--ckpt_path", "missing.ckpt"],
        "`ckpt_path` is expected to be a file, but 'missing.ckpt' is none",
    ),
    "a missing checkpoint to go on from": (
        [*FIT, "--ckpt_path", "missing.ckpt"],
        "`ckpt_path` is expected to be a file, but 'missing.ckpt' is none",
    ),
    "a checkpoint by a name of Lightning's": (
        [*CHECKPOINT, "--ckpt_path", "best"],
        "`ckpt_path` is expected to be a file, but 'best' is none",
    ),
    "garbage for a checkpoint": (
        [*CHECKPOINT, "--ckpt_path", "garbage.ckpt"],
        "`ckpt_path` is expected to be a checkpoint that `ltsft fit` wrote, but 'garbage.ckpt' "
        "cannot be read as one",
    ),
    "garbage to go on from": (
        [*FIT, "--ckpt_path", "garbage.ckpt"],
        "`ckpt_path` is expected to be a checkpoint .* 'garbage.ckpt' cannot be read as one",
    ),
    "another program's checkpoint": (
        [*FIT, "--ckpt_path", "foreign.ckpt"],
        "`ckpt_path` is expected to be a checkpoint .* 'foreign.ckpt' is something else",
    ),
    "an SFT for a checkpoint": (
        [*CHECKPOINT, "--ckpt_path", "{task}/sft/sft.safetensors"],
        "`ckpt_path` .*; a sparse fine-tuning .* goes into `model.init_args.base_sfts`",
    ),
    "an SFT to go on from": (
        [*FIT, "--ckpt_path", "{task}/sft/sft.safetensors"],
        "`ckpt_path` .*; a sparse fine-tuning .* goes into `model.init_args.base_sfts`",
    ),
    "a checkpoint of another task": (
        [*LANGUAGE, "--ckpt_path", "{checkpoint}"],
        "the checkpoint is expected to be of the same model and task, but `model.classifier.bias`",
    ),
    "a model that is not the checkpoint's": (
        [
            *["test", "--model", "MaskedLM", "--model.base_model", "{base}", *CHECKPOINT[1:]],
            *["--ckpt_path", "{checkpoint}"],
        ],
        "`model` is expected to be the checkpoint's ltsft.tasks.Tagger, but got .*; leave it out",
    ),
    "options that are not the checkpoint's": (
        [
            *["test", "--model", "Tagger", "--model.base_model", "{base}"],
            *["--model.metric", "span_f1", *CHECKPOINT[1:], "--ckpt_path", "{checkpoint}"],
        ],
        "`model.init_args.metric` is expected to be what the checkpoint was made with, 'accuracy'",
    ),
    "another budget than the checkpoint's": (
        [
            *with_value(FIT, BUDGET, "0.2"),
            *["--model.base_sfts", "[{aa}]", "--ckpt_path", "{checkpoint}"],
        ],
        "the checkpoint is expected to be of a fit with the same `sparse.budget`",
    ),
    "other fine-tunings under it than the checkpoint's": (
        [*FIT, "--ckpt_path", "{checkpoint}"],
        r"`model.init_args.base_sfts` is expected to be what the fit .* began with, \[.*aa\], but "
        r"got \[\]",
    ),
    "no checkpoint to go on from": (
        [*FIT, "--ckpt_path", "last"],
        "`ckpt_path` is expected to be a checkpoint, but there is none in out/checkpoints",
    ),
    "a head that nobody trained": (
        [*without(TEST, "--model.base_sfts"), "--data.labels", "[NOUN, VERB]"],
        "`model.init_args.base_sfts` is expected to bring the head of the task, but `classifier",
    ),
    "a treebank as text": (
        with_value(LANGUAGE, "--data.text", "{treebank}"),
        "`data.init_args.text` is expected to be text, .* is a treebank .CoNLL-U.",
    ),
    "tagged words as text": (
        with_value(LANGUAGE, "--data.text", "tagged.iob2"),
        "`data.init_args.text` is expected to be text, .* is tagged words .IOB2.",
    ),
    "a folder as text": (
        with_value(LANGUAGE, "--data.text", "texts"),
        r"`data.init_args.text` .* is a folder with 2 texts; .*texts/a.txt",
    ),
    "a path as a language": (
        with_value(FIT, "--data.train", "{{../aa: {treebank}}}"),
        "`data.init_args.train` is expected to have codes of languages, .* but got '../aa'",
    ),
    "a study's config": (
        ["fit", "--config", "study.yaml"],
        "expected to be the config of a fit, but study.yaml is that of a study; run `ltsft study",
    ),
    "no data to predict for": (
        ["predict", *without(TEST, "--data.test")[1:], "--languages.sfts", "{{aa: {aa}}}"],
        "`data.init_args.predict` is expected to give data, but it is empty",
    ),
    # ---------------------------------------------------------------- spelling
    "unknown model": (
        with_value(FIT, "--model", "Taggr"),
        "`model` is expected to be one of MaskedLM, .*Tagger, or the import path of a class, but "
        "got 'Taggr'",
    ),
    "unknown data": (
        with_value(FIT, "--data", "TagData"),
        "`data` is expected to be one of .*TaggingData, TextData, .* but got 'TagData'",
    ),
    "no model": (
        ["fit", *FIT[3:]],
        "`model` is expected to be one of .*, named before its options",
    ),
    "no data": (["fit"], "`data` is expected to be given, but is missing"),
    "options before the class": (
        ["fit", "--model.learning_rate", "0.1", *FIT[1:]],
        "`model` is expected to be one of .*, named before its options",
    ),
    "unknown option of a model": (
        [*FIT, "--model.learning_speed", "3"],
        "`model.learning_speed` is no option; did you mean `model.learning_rate`",
    ),
    "unknown option of data": (
        with_value(FIT, "--data.train", "{{aa: {{path: {treebank}, lines: 3}}}}"),
        "`data.init_args.train.lines` is no option",
    ),
    "unknown option of a phase": (
        [*FIT, "--sparse.dense.steps", "3"],
        "`sparse.dense.steps` is no option",
    ),
    "unknown option": ([*FIT, "--speed", "3"], "`speed` is no option; check its spelling"),
    "unknown option of the Trainer": (
        [*FIT, "--trainer.speed", "3"],
        "`trainer.speed` is no option",
    ),
    "unknown selection": (
        [*FIT, "--sparse.selection", "Best"],
        "`sparse.selection` is expected to be one of .*DiffPruning, .*LargestChange, .*, but got "
        "'Best'",
    ),
    "unknown callback": (
        [*FIT, "--trainer.callbacks", "[{{class_path: NoSuch}}]"],
        "`trainer.callbacks` is expected to be a class, but got 'NoSuch'",
    ),
    # ---------------------------------------------------------------- types
    "a word for a rate": (
        [*FIT, "--model.learning_rate", "fast"],
        "`model.init_args.learning_rate` is expected to be float, but got fast",
    ),
    "a word for steps": (
        with_value(FIT, "--sparse.dense.max_steps", "many"),
        "`sparse.dense.max_steps` is expected to be int or null, but got many",
    ),
    "a word for a length": (
        with_value(FIT, "--data.max_length", "long"),
        "`data.init_args.max_length` is expected to be int, but got long",
    ),
    "a word for a limit": (
        with_value(FIT, "--data.train", "{{aa: {{path: {treebank}, limit: all}}}}"),
        "`data.init_args.train.limit` is expected to be int or null, but got all",
    ),
    "a word for clipping": (
        [*FIT, "--trainer.gradient_clip_val", "high"],
        "`trainer.gradient_clip_val` is expected to be float or int or null, but got high",
    ),
    "a file that is not there, without its language": (
        with_value(FIT, "--data.train", "train.conllu"),
        "`data.init_args.train` is expected to be where data is, but 'train.conllu' is neither",
    ),
    "none of several words": (
        [*FIT, "--data.format", "xml"],
        "`data.init_args.format` is expected to be one of 'conllu', 'iob2', but got xml",
    ),
    # ---------------------------------------------------------------- files and machines
    "no such config": (
        ["fit", "--config", "nothing.yaml"],
        "`--config` is expected to be a YAML file, but 'nothing.yaml' is no file",
    ),
    "a config that is no YAML": (
        [*FIT, "--config=broken.yaml"],
        "broken.yaml, line 2: the config is expected to be YAML, but .*",
    ),
    "a config of bytes": (
        [*FIT, "--config", "garbage.ckpt"],
        "garbage.ckpt: the config is expected to be YAML, but",
    ),
    "a config without keys": (
        [*FIT, "--config", "text.yaml"],
        "text.yaml: the config is expected to have keys and values, but has 'just a text'",
    ),
    "an empty config": ([*FIT, "--config", "empty.conllu"], "keys and values, but has nothing"),
    "a wrong key in a config": (
        [*FIT, "--config", "key.yaml"],
        "`sprase.budget.density` is no option",
    ),
    "a file for a folder": (
        with_value(FIT, "--trainer.default_root_dir", "broken.yaml"),
        "`trainer.default_root_dir` is expected to be a folder, but broken.yaml is a file",
    ),
    "unknown accelerator": (
        [*FIT, "--trainer.accelerator", "abacus"],
        "invalid accelerator name: `accelerator='abacus'`. Available names are",
    ),
    "a language named twice": (
        with_value(TEST, "--data.test", "{{aa: {treebank}, aa: {treebank}}}"),
        "each key of a mapping is expected to come once, but `aa` comes 2 times; a list holds",
    ),
    "predictions of a language's model": (
        [
            "predict",
            "--model",
            "MaskedLM",
            "--model.base_model",
            "{base}",
            *TEXT,
            "--data.text",
            "{text}",
            "--trainer.default_root_dir",
            "out",
        ],
        "`data` is expected to be of a task whose predictions can be written, but got TextData; "
        "`ltsft test` scores",
    ),
    "too rare a validation": (
        [*FIT, "--trainer.val_check_interval", "999"],
        r"`val_check_interval` \(999\) must be less than or equal to the number of the training "
        "batches",
    ),
}


@pytest.fixture
def files(trained, tmp_path):
    """Broken files, and the places that commands name."""
    line = "{}\tw{}\t_\t{}\t_\t_\t0\tdep\t_\t_\n"
    Path("broken.conllu").write_text(line.format(1, 1, "NOUN") + "2 w2 NOUN\n")
    Path("disjoint.conllu").write_text(line.format(1, 1, "AA") + line.format(2, 2, "BB"))
    Path("empty.conllu").write_text("")
    Path("garbage.ckpt").write_bytes(b"\xff\xfegarbage" * 30)
    torch.save({"state_dict": {}}, "foreign.ckpt")
    Path("broken.yaml").write_text("trainer: [1\nmodel: 2")
    Path("text.yaml").write_text("just a text")
    Path("texts").mkdir()
    for name in ("a", "b"):
        Path("texts", f"{name}.txt").write_text("w1 w2\n")
    Path("tagged.iob2").write_text("Ada B-PER\nran O\n")
    Path("study.yaml").write_text("base: x\ntargets: [elmu]\n")
    Path("key.yaml").write_text("sprase: {budget: {density: 0.2}}")
    more = {"checkpoint": trained.checkpoint, "other": tmp_path / "other", **trained.languages}
    return trained._asdict() | more


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line(case, files, ltsft):
    """Status 2, one line on stderr, no traceback; and no fine-tuning is written."""
    args, message = MISTAKES[case]
    if "{other}" in args:
        tiny.save_base(files["other"], seed=1)
    out, err = ltsft(*(arg.format(**files) for arg in args), status=2)
    assert len(err) == 1
    assert err[0].startswith(f"ltsft {args[0]}: ")
    assert re.search(message, err[0]), err[0]
    assert "Traceback" not in out
    assert not list(Path().rglob("sft.safetensors"))


def test_labels_outside_the_inventory_are_wrong_answers(trained, ltsft):
    """With a counted warning, not an abort: accuracy falls by their share, no more."""
    test = [*TEST[:-4], "--trainer.default_root_dir", "out", "--data.test"]
    test = [part.format(**trained._asdict()) for part in test]
    known = Path(trained.treebank).read_text()
    Path("unknown.conllu").write_text(re.sub(r"^(1\t\S+\t_\t)\w+", r"\1XX", known, flags=re.M))
    out, err = ltsft(*test, json.dumps({"aa": trained.treebank, "bb": "unknown.conllu"}))
    assert err == []
    assert (
        "warning: `data.init_args.test.bb` (unknown.conllu) has 12 labels outside the inventory "
        "(12 XX); they count as wrong." in out
    )
    scores = json.loads(Path("out/scores.json").read_text())
    predict = [*test[:-1], "--data.predict", json.dumps({"aa": trained.treebank})]
    ltsft("predict", *predict[1:])
    predicted = Path("out/predictions/aa.conllu").read_text()
    rows, gold = (
        [
            [line.split("\t")[3] for line in sentence.splitlines()]
            for sentence in text.strip().split("\n\n")
        ]
        for text in (predicted, known)
    )
    right = [[g == p for g, p in zip(*pair, strict=True)] for pair in zip(gold, rows, strict=True)]
    total = sum(map(len, gold))
    assert scores["test_accuracy/aa"] == pytest.approx(sum(map(sum, right)) / total)
    first = sum(sentence[0] for sentence in right)
    assert scores["test_accuracy/bb"] == pytest.approx((sum(map(sum, right)) - first) / total)


def test_what_is_no_key_and_reason_stays():
    assert in_words("anything else") == "anything else"
    assert in_words("`a.b`: anything else") == "`a.b`: anything else"

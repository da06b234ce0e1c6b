"""``ltsft fit --help``: what people set, on one page; all options are one step further."""

from ltsft.errors import LtsftError

_SUMMARIES = {
    "fit": "Train a sparse fine-tuning: dense phase, select, rewind, sparse phase.",
    "validate": "Score a model on its validation data.",
    "test": "Score a model on test data, each language with its own fine-tuning.",
    "predict": "Write a model's predictions, one file per language.",
}

_DATA = {
    "fit": """  --data.train '{en: en-train.conllu}'   a source per language; --data.validation too
  --data.text hsb.txt                    of language models: raw text; --data.language hsb
  --data.global_batch_size N             examples per step, over all GPUs""",
    "validate": """  --data.validation '{en: dev.conllu}'   a source per language
  --data.text hsb.txt                    of language models: raw text, a share of it held out""",
    "test": """  --data.test '{hsb: hsb-test.conllu}'   a source per language""",
    "predict": """  --data.predict '{hsb: hsb.txt}'        a source per language, with labels or
                                         without; - is what comes through a pipe""",
}

_SPARSE = """
phases (fit only)
  --sparse.budget.density 0.05           K as a share; or .num_params, .reduction_factor
  --sparse.dense.max_steps N             or .max_epochs, .min_steps, .patience, .l1
  --sparse.sparse.max_steps N            likewise
  --sparse.selection LargestChange       or Random, Biases, …: docs/systems.md
"""


def asks_for_help(args: list[str]) -> bool:
    """Whether a command line asks for the page, and not for all options."""
    return any(arg in ("-h", "--help") for arg in args) and "all" not in args


def page(command: str) -> str:
    """The page of ``fit``, ``validate``, ``test`` or ``predict``."""
    sparse = _SPARSE if command == "fit" else ""
    return f"""usage: ltsft {command} --config FILE ... [--option value ...]

{_SUMMARIES[command]}
Configs and options go from left to right, later ones win.
Paths are relative to where you are.

  --config ltsft:task/pos                a config that comes with ltsft, or a file of yours;
                                         `ltsft configs` lists, shows and copies them
  --print_config                         print all that is set, and stop
  --ckpt_path FILE                       {_CHECKPOINT[command]}
  --seed_everything N                    seed of all that is drawn

model
  --model Tagger                         or MaskedLM, Parser, SentenceClassifier,
                                         QuestionAnswering
  --model.base_model NAME                a folder, or a name on the Hugging Face hub
  --model.base_sfts '[runs/en]'          fine-tunings to put on it first
  --model.learning_rate 5e-5

data
{_DATA[command]}
  --data.max_length N                    sub-words per example
  --languages.sfts '{{hsb: runs/hsb}}'     each language's own fine-tuning
{sparse}
trainer
  --trainer.default_root_dir DIR         where all that is written goes
  --trainer.devices N                    GPUs; --trainer.strategy ddp for several
  --trainer.logger TensorBoardLogger     or WandbLogger, MLFlowLogger; CSV by default

more
  ltsft {command} --model.help Tagger     all options of a task; --data.help TaggingData too
  ltsft {command} --help all              all options there are"""


_CHECKPOINT = {
    "fit": "go on from a checkpoint of this fit (last: its newest)",
    "validate": "take the model from a checkpoint",
    "test": "take the model from a checkpoint",
    "predict": "take the model from a checkpoint",
}


def without_all(args: list[str]) -> list[str]:
    """A command line with ``--help all`` as ``--help``, which parsers know.

    Raises:
        LtsftError: If something else follows ``--help``.
    """
    if "all" not in args:
        return args
    place = args.index("all")
    if args[place - 1] not in ("-h", "--help"):
        raise LtsftError(f"`{args[place - 1]}` is expected to be `--help`, where `all` follows.")
    return [*args[:place], *args[place + 1 :]]

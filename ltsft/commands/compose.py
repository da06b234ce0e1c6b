"""``ltsft compose``: fine-tunings as a plain Hugging Face checkpoint, or as one fine-tuning."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ltsft.atomic import whole_folder
from ltsft.commands.composed_sft import compose_sft, task_sft, with_head_of
from ltsft.errors import LtsftError
from ltsft.sparse import SparseFineTuning, composition
from ltsft.terminal.complaints import PlainParser
from ltsft.terminal.output import libraries_on_stdout

HEADS = {
    "masked-lm": "AutoModelForMaskedLM",
    "token-classification": "AutoModelForTokenClassification",
    "sequence-classification": "AutoModelForSequenceClassification",
    "question-answering": "AutoModelForQuestionAnswering",
}
"""What the model is to do -> class of transformers that it is saved from."""

SETTINGS = {"density": "ties", "drop": "dare", "seed": "dare"}
"""Option -> the method it belongs to."""

HEAD_OF_TASK = {
    "masked-lm": "masked-lm",
    "pos": "token-classification",
    "ner": "token-classification",
    "nli": "sequence-classification",
    "classification": "sequence-classification",
    "qa": "question-answering",
}


def main(name: str, args: list[str]) -> None:
    """Run the command."""
    parser = PlainParser(
        "ltsft compose",
        description="Add sparse fine-tunings to their base model and save a plain Hugging Face "
        "checkpoint with its tokenizer; nothing of ltsft is needed to load it. Or, with --as-sft, "
        "compose them to one fine-tuning.",
    )
    parser.add_argument("--base", help="pretrained model; default: the one the SFTs were made on")
    parser.add_argument("--revision", help="revision of the base model on the hub")
    parser.add_argument(
        "--sft",
        action="append",
        required=True,
        metavar="SFT",
        help="folder, file or user/repo[@revision]; repeat it: one task, any number of languages",
    )
    parser.add_argument(
        "--head",
        choices=HEADS,
        help="what the model is to do, where the SFTs' tasks do not tell",
    )
    parser.add_argument(
        "--method",
        choices=composition.METHODS,
        default="sum",
        help="how they are composed: the sum as in the paper (default), the mean of those that "
        "changed an entry, TIES (elected signs), or DARE (entries dropped at random)",
    )
    parser.add_argument(
        "--weight",
        action="append",
        type=float,
        metavar="W",
        help="factor of an SFT's differences, once for each --sft, in their order; default: 1",
    )
    parser.add_argument(
        "--density", type=float, help="ties: share of each SFT's entries that is kept; default: 1"
    )
    parser.add_argument(
        "--drop", type=float, help="dare: probability that an entry is dropped; default: 0.9"
    )
    parser.add_argument("--seed", type=int, help="dare: seed of the draws; default: 0")
    parser.add_argument(
        "--as-sft",
        action="store_true",
        help="write sft.safetensors, the composed differences with the head of the task's, and no "
        "checkpoint: for `base_sfts` and `languages.sfts`; any task, or languages alone, whose "
        "heads are left out if there are several",
    )
    parser.add_argument("--output", required=True, help="folder to make")
    options = parser.parse_args(args)
    weights = _weights(options.weight, options.sft)
    settings = _settings(options)
    if options.as_sft:
        _check_no_model(options)
    output = Path(options.output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise LtsftError(f"`--output` is expected to be a new folder, but {output} exists already.")
    with libraries_on_stdout():
        sfts = {name: SparseFineTuning.from_pretrained(name) for name in options.sft}
        if options.as_sft:
            composed = compose_sft(sfts, options.method, weights, settings)
            composed.save_pretrained(output)
        else:
            model = compose(
                sfts,
                options.base,
                options.revision,
                options.head,
                options.method,
                weights,
                settings,
            )
            save(model, output)
    said = [f"{w:g} · {name}" if w != 1 else name for name, w in zip(sfts, weights, strict=True)]
    what = " + ".join(said) if options.method == "sum" else f"{options.method}({', '.join(said)})"
    written = composed if options.as_sft else type(model).__name__
    print(f"Wrote {written} with {what} to {output}.")


def compose(
    sfts: dict[str, SparseFineTuning],
    base: str | None = None,
    revision: str | None = None,
    head: str | None = None,
    method: str = "sum",
    weights: Sequence[float] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Any:
    """Load a base model and put fine-tunings in place for good.

    Args:
        sfts: Fine-tunings by the name they are reported under. The head of the task's is put in
            place; those of languages are left out, unless the result is to be a masked LM.
        base: Pretrained model; ``None``: the one in the fine-tunings' metadata.
        revision: Its revision on the hub; ``None``: as in the metadata, if `base` is from there.
        head: A key of :data:`HEADS`; ``None``: told by the fine-tunings' tasks.
        method: A key of :data:`ltsft.sparse.composition.METHODS`. A sum is put in place one after
            the other, as it is in tests and in training, so that every bit is the same.
        weights: A factor for each fine-tuning's differences; ``None``: 1 for all.
        settings: Further arguments of the method.

    Returns:
        The Hugging Face model, float32.

    Raises:
        LtsftError: If the fine-tunings do not fit the base or each other.
    """
    import transformers

    from ltsft.modules import untie_output_embeddings
    from ltsft.tasks.encoder import load_encoder

    if base is None:
        base, revision = _common_base(sfts)
    task = task_sft(sfts)
    head = head or _head(sfts[task])
    labels = sfts[task].metadata.labels
    names: dict[str, Any] = {"id2label": dict(enumerate(labels))} if labels else {}
    if labels:
        names["label2id"] = {label: number for number, label in enumerate(labels)}
    model, fresh = load_encoder(
        getattr(transformers, HEADS[head]), base, revision, "--base", **names
    )
    if head == "masked-lm":
        untie_output_embeddings(model)
    if random := sorted(fresh - sfts[task].whole.keys()):
        raise LtsftError(
            f"{task} is expected to bring the whole head of {type(model).__name__}, but lacks "
            f"`{random[0]}`; name the SFT of the task too, or another `--head`."
        )
    headless = with_head_of(task, sfts)
    weights = weights or [1.0] * len(sfts)
    if method == "sum":
        composed = [sft * weight for sft, weight in zip(headless, weights, strict=True)]
    else:
        composed = [composition.METHODS[method](headless, weights, **settings or {})]
    for sft in composed:
        sft.apply(model)
    return model


def save(model: Any, output: Path) -> None:
    """Save a model and the tokenizer of its base; the folder appears when all is written."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model.name_or_path)
    try:
        with whole_folder(output) as temporary:
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
    except (OSError, LtsftError) as error:
        raise LtsftError(f"`--output` cannot be made: {error}.") from error


def _weights(given: list[float] | None, names: list[str]) -> list[float]:
    if len(set(names)) < len(names):
        raise LtsftError(
            "`--sft` is expected to name each SFT once, but got "
            f"{next(name for name in names if names.count(name) > 1)} twice; use `--weight`."
        )
    if given is None:
        return [1.0] * len(names)
    if len(given) != len(names):
        raise LtsftError(
            "`--weight` is expected once for each `--sft`, in their order, but got "
            f"{len(given)} for {len(names)}."
        )
    return given


def _settings(options: Any) -> dict[str, Any]:
    """The options of the method that was asked for."""
    given = {name: value for name in SETTINGS if (value := getattr(options, name)) is not None}
    for name in given:
        if SETTINGS[name] != options.method:
            raise LtsftError(
                f"`--{name}` is expected beside `--method {SETTINGS[name]}` only, but the method "
                f"is {options.method}."
            )
    return given


def _check_no_model(options: Any) -> None:
    """Refuse options about a model where none is written."""
    for name in ("base", "revision", "head"):
        if (value := getattr(options, name)) is not None:
            raise LtsftError(
                f"`--{name}` is expected to be left out with `--as-sft`, which writes no model, "
                f"but got {value}."
            )


def _common_base(sfts: dict[str, SparseFineTuning]) -> tuple[str, str | None]:
    bases = {(sft.metadata.base_model, sft.metadata.base_revision) for sft in sfts.values()}
    names = sorted({str(name) for name, _ in bases})
    if len(names) > 1 or names == ["None"]:
        raise LtsftError(
            "`--base` is expected where the SFTs do not name one base model, but they name "
            f"{', '.join(names)}."
        )
    revisions = {revision for _, revision in bases}
    return names[0], revisions.pop() if len(revisions) == 1 else None


def _head(sft: SparseFineTuning) -> str:
    task = sft.metadata.task
    if task == "dp":
        raise LtsftError(
            "`--sft` is expected to be of a task that transformers has a model for, but a parser's "
            "biaffine head is in none; parse with `ltsft predict --model Parser --model.base_sfts "
            "'[TASK, LANGUAGE]'`, build `ltsft.tasks.Parser` with these, or compose them to one "
            "SFT with `--as-sft`."
        )
    if task not in HEAD_OF_TASK:
        raise LtsftError(
            f"`--head` is expected where the SFT is of another task than {', '.join(HEAD_OF_TASK)}"
            f", but its task is {task!r}; say one of {', '.join(HEADS)}."
        )
    return HEAD_OF_TASK[task]

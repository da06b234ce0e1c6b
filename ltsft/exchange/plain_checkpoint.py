"""Plain Hugging Face checkpoints of a base with fine-tunings in place, for those without ltsft."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ltsft.atomic import whole_folder
from ltsft.data.encoding.tokenizer import add_prefix_space
from ltsft.errors import LtsftError
from ltsft.exchange.model_card import model_card
from ltsft.sparse import SparseFineTuning, composition
from ltsft.sparse.composed import task_sft, with_head_of

HEADS = {
    "masked-lm": "AutoModelForMaskedLM",
    "token-classification": "AutoModelForTokenClassification",
    "sequence-classification": "AutoModelForSequenceClassification",
    "question-answering": "AutoModelForQuestionAnswering",
}
"""What the model is to do -> class of transformers that it is saved from."""

HEAD_OF_TASK = {
    "masked-lm": "masked-lm",
    "pos": "token-classification",
    "ner": "token-classification",
    "nli": "sequence-classification",
    "classification": "sequence-classification",
    "qa": "question-answering",
}


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
    import transformers  # here, so that `--help` of the command need not wait for it

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
        fresh -= untie_output_embeddings(model)
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


def save(
    model: Any,
    output: Path,
    sfts: Mapping[str, SparseFineTuning],
    method: str = "sum",
    weights: Sequence[float] | None = None,
) -> None:
    """Save a model, a tokenizer that cuts text as in training, and a card.

    Args:
        model: What :func:`compose` returned.
        output: A folder that appears when all is written.
        sfts: The fine-tunings in it, for the card.
        method: How they were composed.
        weights: Their factors.

    Raises:
        LtsftError: If the folder cannot be made.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model.name_or_path)
    add_prefix_space(tokenizer)
    base = model.name_or_path
    card = model_card(base, sfts, method, weights or [1.0] * len(sfts), tokenizer)
    try:
        with whole_folder(output) as temporary:
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
            (temporary / "README.md").write_text(card, encoding="utf-8")
    except (OSError, LtsftError) as error:
        raise LtsftError(f"`--output` cannot be made: {error}.") from error


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

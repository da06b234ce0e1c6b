"""Sparse fine-tunings of what others fine-tuned in full: the K entries that changed most."""

from dataclasses import replace
from typing import Any

import transformers

from ltsft.errors import LtsftError
from ltsft.sparse import Budget, LargestChange, Prune, ScopeRules, SparseFineTuning, Ticket
from ltsft.sparse.digest import tensor_digest
from ltsft.sparse.metadata import LANGUAGE_TASK
from ltsft.tasks.encoder import is_inside, load_encoder


def largest_changes(
    tuned: str, base: str, budget: Budget, revision: str | None = None, **about: Any
) -> SparseFineTuning:
    """Take the K largest differences between a pretrained model and one that was made from it.

    That is Algorithm 1 of Ansell et al. (2022) after its dense phase, without a sparse one
    (:class:`~ltsft.sparse.Prune`): there are no data to train on again. The head is kept whole.

    Args:
        tuned: Checkpoint of transformers; what its head is, its config says.
        base: The pretrained model.
        budget: K.
        revision: Revision of `base` on the hub.
        **about: Fields of :class:`~ltsft.sparse.Metadata`, in place of what the checkpoint says.

    Raises:
        LtsftError: If one of them cannot be loaded, or they are not of one architecture.
    """
    config = transformers.AutoConfig.from_pretrained(tuned)
    name = next(iter(getattr(config, "architectures", None) or []), "")
    auto_class = getattr(transformers, name, None) if name else None
    if auto_class is None:
        raise LtsftError(
            f"`{tuned}` is expected to say in its config.json which class of transformers it is of "
            f"(`architectures`), but says {name!r}."
        )
    outputs = {"id2label": config.id2label, "label2id": config.label2id}
    trained, _ = load_encoder(auto_class, tuned, None, "SOURCE")
    model, fresh = load_encoder(auto_class, base, revision, "--base", **outputs)
    names = {parameter for parameter, _ in model.named_parameters(remove_duplicate=False)}
    head = {parameter for parameter in names if not is_inside(parameter, model)}
    ticket = Ticket(model, ScopeRules(whole=sorted(head | fresh)))  # θ⁰
    values = trained.state_dict()
    shapes = {key: tuple(value.shape) for key, value in ticket.weights().items()}
    for key, shape in shapes.items():
        if key not in values or tuple(values[key].shape) != shape:
            here = f"shape {tuple(values[key].shape)}" if key in values else "no such parameter"
            raise LtsftError(
                f"`--base` is expected to be what {tuned} was made from, but `{key}` has shape "
                f"{shape} in {base}, and {tuned} has {here}."
            )
    ticket.put({key: values[key] for key in shapes})  # θ¹
    num_params = budget.resolve(model, ticket.candidates().num_maskable())
    ticket.select(LargestChange(), num_params)  # μ
    ticket.rewind(Prune())
    origin = {
        "base_model": base,
        "base_revision": getattr(model.config, "_commit_hash", None) or revision,
        "task": LANGUAGE_TASK if name.endswith("ForMaskedLM") else None,
        "labels": _labels(config),
        "rewinding": "Prune",
    }
    return ticket.difference(**origin | about)  # φ


def _labels(config: Any) -> list[str] | None:
    """What the outputs stand for; ``None`` where nobody said, and transformers numbered them."""
    labels = [config.id2label[number] for number in sorted(config.id2label)]
    numbered = [f"LABEL_{number}" for number in range(len(labels))]
    return None if labels == numbered else labels


def of_base(sft: SparseFineTuning, base: str, revision: str | None = None) -> SparseFineTuning:
    """Tie a fine-tuning that knows no digests to a base model.

    Args:
        sft: The fine-tuning, whose names are those of a model with a head.
        base: The pretrained model.
        revision: Its revision on the hub.

    Returns:
        One that can be applied to the weights of this base only.

    Raises:
        LtsftError: If the base cannot be loaded, or lacks what the fine-tuning changes.
    """
    model, _ = load_encoder(transformers.AutoModel, base, revision, "--base")
    parameters = dict(model.named_parameters(remove_duplicate=False))
    digests = {}
    for name, delta in sft.entries.items():
        parameter = parameters.get(name.removeprefix(f"{model.base_model_prefix}."))
        if parameter is None or tuple(parameter.shape) != tuple(delta.shape):
            here = "none" if parameter is None else f"shape {tuple(parameter.shape)}"
            raise LtsftError(
                f"`--base` is expected to be what the fine-tuning was made from, with `{name:.80}` "
                f"of shape {tuple(delta.shape)}, but {base} has {here}."
            )
        digests[name] = tensor_digest(parameter)
    revision = getattr(model.config, "_commit_hash", None) or revision
    metadata = replace(sft.metadata, base_model=base, base_revision=revision, base_digests=digests)
    return replace(sft, metadata=metadata)

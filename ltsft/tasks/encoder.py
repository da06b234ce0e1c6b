"""Loading pretrained Hugging Face models, and building them again from a checkpoint."""

import inspect
import json
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_TEXT_ENCODING_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForTextEncoding,
    PretrainedConfig,
    PreTrainedModel,
)

from ltsft.errors import LtsftError

# Not of `Any`: by that, a config could have objects made in it.
Json = bool | int | float | str | list | dict | None
"""Values of a model's configuration."""


class Encoder(NamedTuple):
    """A pretrained model with the head of a task.

    Args:
        model: The model, in float32.
        fresh: Names of the parameters that its checkpoint lacks, hence with random values.
    """

    model: PreTrainedModel
    fresh: frozenset[str]


def load_encoder(
    auto_class: Any,
    name: str,
    revision: str | None = None,
    key: str = "model.init_args.base_model",
    **config: Any,
) -> Encoder:
    """Load a pretrained model, in float32 whatever it was saved in.

    A head of another shape (another task's labels) is initialised afresh.

    Args:
        auto_class: ``AutoModelFor...`` of transformers; says which head the model gets
            (``AutoModel``: none, nor a decoder).
        name: A folder, or a name on the hub.
        revision: Revision on the hub.
        key: The option that gave the name, for error messages.
        **config: Options of the model's configuration, e.g. ``id2label``.

    Raises:
        LtsftError: If there is no such model, its weights are not those of its architecture, or it
            does not take sub-words and their mask alone.
    """
    at = f"{name!r}" + (f" (revision {revision!r})" if revision else "")
    revision = revision or "main"
    try:
        if auto_class is AutoModel:
            auto_class = _encoder_alone(AutoConfig.from_pretrained(name, revision=revision))
        model, report = auto_class.from_pretrained(
            name,
            revision=revision,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **config,
        )
    # transformers raises OSError if nothing is found, and ValueError if it is no such model.
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if "Unrecognized configuration class" in reason:
            kind = AutoConfig.from_pretrained(name, revision=revision).model_type
            raise LtsftError(
                f"`{key}` is expected to be of a type that transformers has {auto_class.__name__} "
                f"for, but {at} is of type {kind}, which has none; take another model, or another "
                "task."
            ) from error
        raise LtsftError(
            f"`{key}` is expected to be a folder with a pretrained model, or the name of one on "
            f"the Hugging Face hub, but {at} cannot be loaded with {auto_class.__name__}: {reason}"
        ) from error
    odd_sizes = {entry[0] for entry in report["mismatched_keys"]}
    names = {parameter for parameter, _ in model.named_parameters(remove_duplicate=False)}
    fresh = frozenset((set(report["missing_keys"]) | odd_sizes) & names)
    inside = {parameter for parameter in names if is_inside(parameter, model)}
    if odd_sizes & inside or inside <= fresh:
        raise LtsftError(
            f"`{key}` is expected to hold the weights of its config.json, but in {at} "
            f"`{min(fresh & inside)}` is missing or has another shape; save or download the model "
            "again."
        )
    if reason := _refusal(model):
        raise LtsftError(
            f"`{key}` is expected to take any number of sub-words and their mask alone, but "
            f"{type(model).__name__} does not: {reason}"
        )
    return Encoder(model, fresh)


@torch.no_grad()
def _refusal(model: PreTrainedModel) -> str:
    """Why a model does not take five sub-words and their mask; empty if it does.

    X-MOD wants to know the language, Nyströmformer certain lengths.
    """
    # BigBird, at the sight of a short text, would give up its sparse attention for good.
    if getattr(model.config, "attention_type", None) == "block_sparse":
        return ""
    ids = torch.full((1, 5), 5 % model.get_input_embeddings().num_embeddings)
    if isinstance(end := getattr(model.config, "eos_token_id", None), int):
        ids[0, -1] = end  # classifiers of mT5 look for it
    was_training = model.training
    model.eval()
    try:
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    except Exception as error:  # whatever a model raises is its answer
        return next(iter(str(error).strip().splitlines()), type(error).__name__)
    finally:
        model.train(was_training)
    return ""


def _encoder_alone(config: PretrainedConfig) -> Any:
    """The class of a model without a head, nor a decoder if it has one (mT5)."""
    # Not by `config.is_encoder_decoder`, which an encoder alone sets to False in its own.
    known = type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING
    return AutoModelForTextEncoding if known else AutoModel


def build_encoder(auto_class: Any, config: dict[str, Any]) -> Encoder:
    """Build a model with random weights from the configuration that a checkpoint carries.

    Args:
        auto_class: ``AutoModelFor...`` of transformers.
        config: What :func:`config_values` returned.
    """
    model_config = AutoConfig.for_model(**config)
    if auto_class is AutoModel:
        auto_class = _encoder_alone(model_config)
    model = auto_class.from_config(model_config, dtype=torch.float32)
    return Encoder(model, frozenset())


def config_values(model: PreTrainedModel) -> dict[str, Any]:
    """A model's configuration as plain values, as ``torch.load(weights_only=True)`` admits them."""
    values: dict[str, Any] = json.loads(model.config.to_json_string(use_diff=False))
    return values


def check_inputs(model: PreTrainedModel, num_tokens: int | None, max_length: int | None) -> None:
    """Refuse data that a model has no embeddings for, before anything trains.

    Args:
        model: The model.
        num_tokens: Size of the tokenizer's vocabulary; ``None``: unknown.
        max_length: Longest sequence, in sub-words; ``None``: unknown.

    Raises:
        LtsftError: If a token or a position has no embedding.
    """
    num_embedded = model.base_model.get_input_embeddings().weight.shape[0]
    if num_tokens is not None and num_tokens > num_embedded:
        raise LtsftError(
            f"`data.init_args.tokenizer` is expected to have at most the {num_embedded:,} tokens "
            f"that the model has embeddings of, but has {num_tokens:,}; resize the model's "
            "(`model.resize_token_embeddings(len(tokenizer))`) and save it, or take its own "
            "tokenizer."
        )
    num_positions = num_positions_of(model)
    if num_positions is None or max_length is None:
        return
    if max_length > num_positions:
        raise LtsftError(
            f"`data.init_args.max_length` is expected to be at most {num_positions}, the positions "
            f"that {type(model).__name__} has embeddings of, but got {max_length}."
        )


def num_positions_of(model: PreTrainedModel) -> int | None:
    """Longest sequence that a model has embeddings of; ``None`` where they are not by position."""
    for name, module in model.named_modules():
        if name.split(".")[-1] == "position_embeddings" and isinstance(module, nn.Embedding):
            # Where padding has a position (RoBERTa), those before and it are no word's.
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - first
    return None


def model_inputs(model: PreTrainedModel, batch: dict[str, Any]) -> dict[str, Tensor]:
    """What a model takes of a batch: as much as its tokenizer would give it.

    Args:
        model: The model.
        batch: `input_ids` and `attention_mask` [B, T]; maybe `token_type_ids` [B, T], which
            DistilBERT, for one, does not take.
    """
    names = ["input_ids", "attention_mask"]
    takes_types = "token_type_ids" in inspect.signature(model.forward).parameters
    # A model that knows one type only (XLM-R) has no embedding of a second one.
    if takes_types and getattr(model.config, "type_vocab_size", 0) > 1:
        names.append("token_type_ids")
    return {name: batch[name] for name in names if name in batch}


def is_inside(parameter: str, model: PreTrainedModel) -> bool:
    """Whether a parameter belongs to the encoder, not to the head on top of it."""
    return model.base_model is model or parameter.startswith(f"{model.base_model_prefix}.")

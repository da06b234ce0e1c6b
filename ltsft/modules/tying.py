"""Giving the output embeddings of a masked language model weights of their own."""

from torch import nn

from ltsft.errors import LtsftError


def untie_output_embeddings(model: nn.Module) -> set[str]:
    """Separate the output embedding matrix from the input embeddings, for good.

    Pretrained models share one matrix between input and output. Language fine-tunings change the
    input embeddings, while the output matrix stays as it was (Ansell et al., 2022, §4.1), so it
    gets a copy of its own. Three things make the separation last:

    * ``config.tie_word_embeddings`` is set to False; otherwise a later ``tie_weights()`` would
      silently share the matrix again.
    * Where the output layer shares its bias with another name in the head (BERT, XLM-R), the bias
      gets a copy too: of tensors that share memory, ``save_pretrained`` writes one name only, and
      without tying the other would come back as zeros.
    * That other name is used by no layer from then on. It is frozen, because under DDP a parameter
      that trains must get a gradient.

    Calling it again, or on a model that was saved untied, changes no weight.

    Args:
        model: A Hugging Face model with output embeddings; changed in place. Its outputs stay the
            same.

    Returns:
        Names that no layer uses from then on.

    Raises:
        LtsftError: If the model has no output embeddings.
    """
    output = model.get_output_embeddings()  # type: ignore[operator]
    if output is None:
        raise LtsftError(
            "the model is expected to have output embeddings, but "
            f"{type(model).__name__} has none; load it as a masked language model."
        )
    unused = set()
    for copy, original in _tied_names(model).items():
        parameters = dict(model.named_parameters(remove_duplicate=False))
        if parameters[copy] is parameters[original]:
            owner, _, name = copy.rpartition(".")
            own = nn.Parameter(parameters[copy].detach().clone(), parameters[copy].requires_grad)
            setattr(model.get_submodule(owner), name, own)
        # Input embeddings are used; a name of the head that was only tied to the output is not.
        if not original.startswith(f"{model.base_model_prefix}."):
            model.get_parameter(original).requires_grad_(False)
            unused.add(original)
    for module in model.modules():
        if hasattr(module, "all_tied_weights_keys"):  # what `save_pretrained` goes by
            module.config.tie_word_embeddings = False  # type: ignore[union-attr]
            module.all_tied_weights_keys = {}  # type: ignore[assignment]
    return unused


def _tied_names(model: nn.Module) -> dict[str, str]:
    """Name -> the name it is tied to, whether or not the config ties them at the moment."""
    config = model.config
    before, config.tie_word_embeddings = config.tie_word_embeddings, True  # type: ignore
    names: dict[str, str] = model.get_expanded_tied_weights_keys()  # type: ignore[operator]
    config.tie_word_embeddings = before  # type: ignore[union-attr]
    return names

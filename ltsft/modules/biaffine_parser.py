"""An encoder with the head of the shallow biaffine parser."""

from typing import Any, Literal

from torch import Tensor, nn

from ltsft.errors import LtsftError
from ltsft.modules.biaffine import BiaffineHead, EncodedWords
from ltsft.modules.pooling import pool_words

Root = Literal["pooled", "first_token"]


class BiaffineParser(BiaffineHead):
    """An encoder with a :class:`BiaffineHead`.

    The vector of a word is the mean of its sub-words after dropout; that of the root is the
    encoder's pooled first token, without dropout, as in the code of Ansell et al. (2022). The
    `adapters` library takes the first token's final state instead, and so must encoders that have
    no pooling layer.

    The encoder keeps the name it has in its model family (``bert``, ``roberta``), and the maps lie
    beside it, so that parameters are called as in published files.

    Args:
        encoder: A `transformers` encoder, such as a ``BertModel``; loses its pooling layer if that
            is not used.
        num_relations: R, the number of relations.
        dropout: Share of the encoder's output that is dropped in training; default: the
            ``hidden_dropout_prob`` of the encoder's config, 0.1 if there is none.
        root: What stands for the root: the pooling layer's output (``pooled``), or the first
            token's final state (``first_token``).

    Raises:
        LtsftError: If the encoder lacks the pooling layer that `root` asks for.
    """

    def __init__(
        self,
        encoder: Any,
        num_relations: int,
        dropout: float | None = None,
        root: Root = "pooled",
    ) -> None:
        if root == "pooled" and getattr(encoder, "pooler", None) is None:
            raise LtsftError(
                "`root` is expected to be `first_token` where the encoder has no pooling layer, "
                f"but got `pooled` and a {type(encoder).__name__} without; set "
                "`model.init_args.root: first_token`, or take a BERT-like or RoBERTa-like model."
            )
        if root == "first_token" and hasattr(encoder, "pooler"):
            encoder.pooler = None  # under DDP a parameter without a gradient is an error
        super().__init__(encoder.config.hidden_size, num_relations)
        self.config = encoder.config
        self.base_model_prefix: str = encoder.base_model_prefix
        self.add_module(self.base_model_prefix, encoder)
        self.root = root
        self.dropout = nn.Dropout(
            getattr(encoder.config, "hidden_dropout_prob", 0.1) if dropout is None else dropout
        )

    @property
    def base_model(self) -> nn.Module:
        """The encoder."""
        return self.get_submodule(self.base_model_prefix)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, word_ids: Tensor, num_words: int
    ) -> EncodedWords:
        """Encode sentences.

        Args:
            input_ids: Sub-words, [B, T].
            attention_mask: 1 for sub-words and special tokens, 0 for padding, [B, T].
            word_ids: Index of the word that each sub-word belongs to, -1 for none, [B, T].
            num_words: W, the number of words of the longest sentence, those cut off included.

        Returns:
            Vectors of the words, [B, W, H], and of the root, [B, H].
        """
        output = self.base_model(input_ids=input_ids, attention_mask=attention_mask)
        hidden = output.last_hidden_state
        root = output.pooler_output if self.root == "pooled" else hidden[:, 0]
        return EncodedWords(pool_words(self.dropout(hidden), word_ids, num_words), root)

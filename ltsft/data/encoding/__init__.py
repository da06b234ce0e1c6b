"""From text to the numbers of sub-words: tokenizers, and what was tokenised once."""

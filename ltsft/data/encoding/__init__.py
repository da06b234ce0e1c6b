"""From text to the numbers of sub-words: tokenizers, and what was tokenised once.

It knows no labels, and not what a text was read from.
"""

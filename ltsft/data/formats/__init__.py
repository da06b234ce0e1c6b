"""From files to sentences and back: one module per format.

A format knows line numbers and says them in its errors. It knows no tokenizer and no task.
"""

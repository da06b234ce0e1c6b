"""From numbered examples to batches: which ones, in what order, padded and masked."""

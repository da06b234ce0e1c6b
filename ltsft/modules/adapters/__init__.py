"""MAD-X's adapters: bottleneck layers and an invertible one, in slots of a model."""

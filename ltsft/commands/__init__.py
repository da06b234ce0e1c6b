"""One module per command of ``ltsft``, each with ``main(name, args)``; imported on demand."""

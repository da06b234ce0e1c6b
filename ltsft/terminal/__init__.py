"""How a command listens and speaks: parsers, complaints on one line, tables, logs."""

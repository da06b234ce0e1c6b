"""The options of commands, by name."""

import argparse
import importlib
from collections.abc import Iterable

from ltsft.terminal.sft_cli import CLASSES, SELECTIONS, Parser, SftCLI

_OF_ALL_FITS = ("--config", "--print_config", "--help", "--ckpt_path", "--seed_everything")


def options_of_sft_cli() -> list[str]:
    """Options of ``fit``, ``validate``, ``test`` and ``predict``, those of all tasks among them."""
    cli = SftCLI.__new__(SftCLI)  # its constructor would parse a command line
    cli._fitting = False
    parser = Parser()
    cli.add_core_arguments_to_parser(parser)
    cli.add_arguments_to_parser(parser)
    for cls in CLASSES:
        key = "model" if any(base.__name__ == "Task" for base in cls.__mro__) else "data"
        _add_class(parser, cls, key)
    for cls in SELECTIONS:
        _add_class(parser, cls, "sparse.selection")
    for key, cls in Parser.option_classes.items():
        _add_class(parser, cls, key)
    return names_in([parser], _OF_ALL_FITS)


def options_of(module: str) -> list[str]:
    """Options of another command.

    Args:
        module: Its module in ``ltsft.commands``, which has a ``make_parser``.
    """
    return names_in([importlib.import_module(f"ltsft.commands.{module}").make_parser()])


def names_in(parsers: Iterable[argparse.ArgumentParser], more: Iterable[str] = ()) -> list[str]:
    """Long option names of parsers, sorted, without the help of each class."""
    names = {name for parser in parsers for name in parser._option_string_actions} | {*more}
    return sorted(n for n in names if n.startswith("--") and not n.endswith((".help", "+")))


def _add_class(parser: Parser, cls: type, key: str) -> None:
    """Add the options of a class that are not there yet."""
    of_class = Parser()
    of_class.add_class_arguments(cls, key)
    for name in of_class._option_string_actions:
        if name.startswith(f"--{key}.") and name not in parser._option_string_actions:
            parser._option_string_actions[name] = of_class._option_string_actions[name]

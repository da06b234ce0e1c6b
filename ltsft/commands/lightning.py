"""``ltsft fit | validate | test | predict``: LightningCLI around tasks, data and the two phases."""

import difflib

from ltsft.errors import LtsftError
from ltsft.terminal import early
from ltsft.terminal.configs import with_paths
from ltsft.terminal.help import asks_for_help, page, without_all


def main(name: str, args: list[str]) -> None:
    """Run one of the four commands.

    Raises:
        LtsftError: If something in the config or the data cannot be as given.
    """
    if asks_for_help(args):
        print(page(name))
        return
    args = with_paths(without_all(args))
    early.check(name, args)

    from ltsft.terminal.complaints import UnknownOption
    from ltsft.terminal.output import libraries_on_stdout
    from ltsft.terminal.sft_cli import SftCLI

    with libraries_on_stdout():
        try:
            SftCLI([name, *args])
        except UnknownOption as unknown:
            raise LtsftError(_did_you_mean(unknown)) from unknown
        except Exception as error:
            if isinstance(error, LtsftError) or not _is_of_lightning(error):
                raise
            raise LtsftError(str(error)) from error


def _did_you_mean(unknown: Exception) -> str:
    """What is said of an option that there is not, with one that there is."""
    from ltsft.terminal.options import options_of_sft_cli

    key = str(unknown).partition("`")[2].partition("`")[0].replace(".init_args", "")
    names = [name.removeprefix("--") for name in options_of_sft_cli()]
    names = [name for name in names if name.count(".") == key.count(".")]
    near = difflib.get_close_matches(key, names, 1, cutoff=0.75)
    if not near or near[0] == key:
        return str(unknown)
    return f"`{key}` is no option; did you mean `{near[0]}`?"


def _is_of_lightning(error: BaseException) -> bool:
    """Whether Lightning raised an error itself where it checks what it was given."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return False
    name = traceback.tb_frame.f_globals["__name__"]
    checks = isinstance(error, ValueError) or type(error).__name__ == "MisconfigurationException"
    return name.startswith("lightning") and checks

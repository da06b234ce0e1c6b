"""``ltsft fit | validate | test | predict``: LightningCLI around tasks, data and the two phases."""

from lightning.pytorch.utilities.exceptions import MisconfigurationException

from ltsft.errors import LtsftError
from ltsft.terminal.output import libraries_on_stdout
from ltsft.terminal.sft_cli import SftCLI


def main(name: str, args: list[str]) -> None:
    """Run one of the four commands.

    Raises:
        LtsftError: If something in the config or the data cannot be as given.
    """
    with libraries_on_stdout():
        try:
            SftCLI([name, *args])
        except (MisconfigurationException, ValueError) as error:
            if isinstance(error, LtsftError) or not _is_of_lightning(error):
                raise
            raise LtsftError(str(error)) from error


def _is_of_lightning(error: BaseException) -> bool:
    """Whether Lightning raised an error itself: it does so where it checks what it was given."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and traceback.tb_frame.f_globals["__name__"].startswith(
        "lightning"
    )

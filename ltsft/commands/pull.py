"""``ltsft pull``: fine-tunings from the Hugging Face hub, looked at before they are used."""

from pathlib import Path

from ltsft.errors import LtsftError
from ltsft.sparse.header import Header
from ltsft.sparse.location import is_repository, locate
from ltsft.terminal.plain_parser import PlainParser


def make_parser() -> PlainParser:
    """The parser of ``ltsft pull``."""
    parser = PlainParser(
        "ltsft pull",
        description="Download fine-tunings from the Hugging Face hub into its cache, check them, "
        "and say which commit they are of. What was pulled is found without a network too.",
    )
    parser.add_argument("sfts", nargs="+", metavar="USER/REPO[@REVISION]")
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="also write them, unpacked, into DIR/REPO: for machines without that cache",
    )
    return parser


def main(name: str, args: list[str]) -> None:
    """Run the command."""
    options = make_parser().parse_args(args)
    for sft in options.sfts:
        if not is_repository(sft):
            raise LtsftError(f"`SFT` is expected to be `user/repo[@revision]`, but got {sft!r}.")
    for sft in options.sfts:
        path = locate(sft)
        header = Header.read(path)
        header.check_digest()
        repository = sft.partition("@")[0]
        commit = path.parent.name  # of the cache's folder
        place = path
        if options.output is not None:
            from ltsft.sparse import SparseFineTuning

            place = Path(options.output) / repository.rpartition("/")[2]
            SparseFineTuning.load(path).save_pretrained(place)
        print(f"{repository}@{commit}: {place}", flush=True)

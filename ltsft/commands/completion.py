"""``ltsft completion``: a script by which a shell completes commands, options and files.

jsonargparse has completions of its own: one made by shtab is 120 MB for a command as nested as
``ltsft fit``, one by argcomplete imports all of Lightning at each key. This script has the names of
all options in it and imports nothing.
"""

from ltsft.terminal.dispatch import COMMANDS
from ltsft.terminal.plain_parser import PlainParser

_SCRIPT = """\
_ltsft() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" options=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{commands} --help --version" -- "$word"))
    return
  fi
  case "${{COMP_WORDS[1]}}" in
{cases}
  esac
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$options" -- "$word")) ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}}
complete -o filenames -F _ltsft ltsft
"""

_PREAMBLES = {"bash": "", "zsh": "autoload -U +X bashcompinit && bashcompinit\n"}


def make_parser() -> PlainParser:
    """The parser of ``ltsft completion``."""
    parser = PlainParser(
        "ltsft completion",
        description="Print a script that completes commands, options and files. For bash: `ltsft "
        "completion bash > ~/.local/share/bash-completion/completions/ltsft`; for zsh: `ltsft "
        "completion zsh >> ~/.zshrc`.",
    )
    parser.add_argument("shell", choices=_PREAMBLES)
    return parser


def main(name: str, args: list[str]) -> None:
    """Run the command."""
    shell = make_parser().parse_args(args).shell
    print(_PREAMBLES[shell] + script(), end="")


def script() -> str:
    """The script for bash."""
    # Here, so that `--help` need not wait for Lightning.
    from ltsft.terminal.options import options_of, options_of_sft_cli

    of_lightning = [name for name, command in COMMANDS.items() if command.module == "lightning"]
    options = {"|".join(of_lightning): options_of_sft_cli()}
    options |= {
        name: options_of(command.module)
        for name, command in COMMANDS.items()
        if name not in of_lightning
    }
    cases = (f'    {names}) options="{" ".join(of)}" ;;' for names, of in options.items())
    return _SCRIPT.format(commands=" ".join(COMMANDS), cases="\n".join(cases))

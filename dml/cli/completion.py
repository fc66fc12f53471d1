"""`dml completion`: a script that completes verbs and options in bash and zsh; it needs nothing installed."""

import re

from dml.cli import VERBS
from dml.cli.options import KEYS, Parser

_SCRIPT = """{prelude}_dml() {{
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{verbs}" -- "${{COMP_WORDS[1]}}"))
        return
    fi
    case "${{COMP_WORDS[COMP_CWORD]}}" in
        -*) COMPREPLY=($(compgen -W "{options}" -- "${{COMP_WORDS[COMP_CWORD]}}")) ;;
        *) COMPREPLY=($(compgen -f -- "${{COMP_WORDS[COMP_CWORD]}}")) ;;
    esac
}}
complete -o filenames -F _dml dml"""


def main(arguments: list[str]) -> int:
    """Print the script; return 0."""
    parser = Parser(prog="dml completion", description='Complete `dml` by: eval "$(dml completion bash)"')
    parser.add_argument("shell", choices=["bash", "zsh"])
    print(script(parser.parse_args(arguments).shell))
    return 0


def script(shell: str) -> str:
    """Return the completion script of a shell.

    Args:
        shell: `bash` or `zsh`.

    Example:
        >>> "complete -o filenames -F _dml dml" in script("bash")
        True
    """
    options = ["--config", "--runs_dir", "--name", "--ckpt_path", "--run", "--help", *re.findall(r"--[\w.]+", KEYS)]
    prelude = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    return _SCRIPT.format(prelude=prelude, verbs=" ".join(VERBS), options=" ".join(dict.fromkeys(options)))

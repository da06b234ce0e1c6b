"""Where the file of a fine-tuning is: here, or on the Hugging Face hub."""

from pathlib import Path

from ltsft.errors import LtsftError

FILE_NAME = "sft.safetensors"


def as_path(path: str | Path) -> Path:
    """A path as it was given, its ``~`` replaced by the user's home.

    Raises:
        LtsftError: If it is something else.
    """
    if not isinstance(path, str | Path):
        raise LtsftError(
            "a fine-tuning is expected to be named by a path (or `user/repo` on the hub), but got "
            f"{path!r}; write `'runs/en'`, and save first what is in memory only."
        )
    return Path(path).expanduser()


def locate(name: str | Path, file_name: str = FILE_NAME, revision: str | None = None) -> Path:
    """Find the file that a folder, a file or ``user/repo[@revision]`` means, downloading it.

    Args:
        name: What is meant.
        file_name: What the file is called in a folder or repository.
        revision: Branch, tag or commit of a repository, in place of ``@revision``.

    Raises:
        LtsftError: If there is no such thing.
    """
    path = as_path(name)
    if path.is_dir():
        for candidate in (path / file_name, path / "sft" / file_name):
            if candidate.is_file():
                return candidate
        raise LtsftError(f"the folder `{path}` is expected to hold `{file_name}`, but does not.")
    if path.exists() or not is_repository(str(name)):
        return path
    repository, _, at = str(name).partition("@")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(hf_hub_download(repository, file_name, revision=revision or at or None))
    except (HfHubHTTPError, ValueError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise LtsftError(
            f"`{name}` is expected to be a folder, a file or a repository `user/repo[@revision]` "
            f"with `{file_name}`, but is no file here and the hub says: {reason}"
        ) from error


def is_repository(name: str) -> bool:
    """Whether a name may be ``user/repo[@revision]``, and can be no path.

    Example:
        >>> is_repository("me/hsb@main"), is_repository("./me/hsb"), is_repository("runs/a/b")
        (True, False, False)
    """
    repository = name.partition("@")[0]
    return repository.count("/") == 1 and not repository.startswith((".", "~", "/"))

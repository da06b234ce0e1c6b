"""Fine-tunings on the Hugging Face hub."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ltsft.errors import LtsftError
from ltsft.sparse import file_format
from ltsft.sparse.card import card, is_local, num_entries, shown
from ltsft.sparse.delta import Parts
from ltsft.sparse.location import FILE_NAME
from ltsft.sparse.metadata import Metadata


def push(
    sft: Parts,
    repository: str,
    *,
    private: bool | None = None,
    packed: bool = True,
    license: str | None = None,
    datasets: Sequence[str] = (),
    scores: Mapping[str, float] | None = None,
    token: str | None = None,
) -> str:
    """Publish a fine-tuning: its file and a card, in one commit.

    Args:
        sft: The fine-tuning, of which :func:`public` metadata say where it comes from.
        repository: ``user/repo``; made if there is none.
        private: Whether a new repository is seen by its owner alone; ``None``: as the owner's
            settings are.
        packed: Whether the file is packed, which takes about half of the bytes.
        license: One of the hub's names, e.g. ``cc-by-4.0``.
        datasets: Names on the hub of what it was trained on.
        scores: As ``ltsft test`` writes them to ``scores.json``.
        token: ``None``: the one that ``hf auth login`` stored, or ``HF_TOKEN``.

    Returns:
        ``user/repo@commit``.

    Raises:
        LtsftError: If the hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    text = card(sft, repository, license=license, datasets=datasets, scores=scores)
    api = HfApi(token=token, library_name="ltsft")
    with tempfile.TemporaryDirectory() as folder:
        file_format.save(sft, Path(folder) / FILE_NAME, packed)
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            commit = api.create_commit(
                repository,
                [
                    CommitOperationAdd("README.md", text.encode()),
                    CommitOperationAdd(FILE_NAME, str(Path(folder) / FILE_NAME)),
                ],
                commit_message=f"{num_entries(sft):,} entries",
            )
        except Exception as error:  # of names, connections, rights: of several libraries
            raise refused(repository, error) from error
    return f"{repository}@{commit.oid}"


def public(metadata: Metadata, base_model: str | None = None) -> Metadata:
    """Metadata that name no folders.

    Args:
        metadata: Of a fine-tuning.
        base_model: Name of its base model on the hub; ``None``: that in the metadata.

    Raises:
        LtsftError: If that is a folder.
    """
    base = base_model or metadata.base_model
    if base is not None and is_local(base):
        raise LtsftError(
            f"the base model is expected to be one that others can load, but {base} is a folder; "
            "say its name on the hub (`--base user/model`, `base_model=`)."
        )
    trained_with = [shown(name) for name in metadata.trained_with]
    return replace(metadata, base_model=base, trained_with=trained_with)


def refused(repository: str, error: Exception) -> LtsftError:
    """What the hub says, in one line and without the addresses it was asked at."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    hint = "; log in by `hf auth login`, or set HF_TOKEN" if status in (401, 403) else ""
    lines = [line for line in str(error).splitlines() if line.strip()]
    reason: Any = getattr(error, "server_message", None) or (lines[0] if lines else type(error))
    return LtsftError(
        f"`{repository}` is expected to be a repository that you may write to, but the hub says: "
        f"{reason}{hint}."
    )

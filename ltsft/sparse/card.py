"""The README.md of a sparse fine-tuning on the Hugging Face hub, from what it says of itself."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ltsft.sparse.delta import Parts
from ltsft.sparse.location import FILE_NAME
from ltsft.sparse.metadata import LANGUAGE_TASK

PIPELINES = {
    LANGUAGE_TASK: "fill-mask",
    "pos": "token-classification",
    "ner": "token-classification",
    "dp": "token-classification",
    "nli": "text-classification",
    "classification": "text-classification",
    "qa": "question-answering",
}
"""Task -> what the hub calls it."""

_CLASSES = {
    "token-classification": "AutoModelForTokenClassification",
    "text-classification": "AutoModelForSequenceClassification",
    "question-answering": "AutoModelForQuestionAnswering",
}

_CODE = re.compile(r"[a-z]{2,3}")

_LAYER = re.compile(r"\.layers?\.(\d+)\.")


def card(
    sft: Parts,
    repository: str,
    *,
    license: str | None = None,
    datasets: Sequence[str] = (),
    scores: Mapping[str, float] | None = None,
) -> str:
    """Describe a fine-tuning, for the hub and its readers.

    Nothing in it is a path of the machine that it was trained on: of those the last part is told.

    Args:
        sft: The fine-tuning.
        repository: Where it will be, ``user/repo``.
        license: Of the hub's names, e.g. ``cc-by-4.0``.
        datasets: Names on the hub of what it was trained on.
        scores: As ``ltsft test`` writes them to ``scores.json``: ``test_METRIC/LANGUAGE`` -> share
            of 1, or a loss.
    """
    from huggingface_hub import ModelCardData

    meta = sft.metadata
    name = repository.partition("/")[2] or repository
    pipeline = PIPELINES.get(meta.task or "")
    on_hub = meta.base_model is not None and not is_local(meta.base_model)
    languages = [code for code in (meta.language or "").split("+") if _CODE.fullmatch(code)]
    data = ModelCardData(
        base_model=meta.base_model if on_hub else None,
        base_model_relation="adapter" if on_hub else None,
        library_name="ltsft",
        language=languages or None,
        license=license,
        datasets=list(datasets) or None,
        pipeline_tag=pipeline,
        tags=["ltsft", "sparse-fine-tuning", *([meta.task] if meta.task else [])],
        model_name=name,
        eval_results=_results(scores or {}, pipeline or "other", list(datasets)),
    )
    base = shown(meta.base_model) if meta.base_model else "its base model"
    kind = "language" if meta.head == "language" else f"task ({meta.task})" if meta.task else ""
    lines = [
        "---",
        data.to_yaml().strip(),
        "---",
        "",
        f"# {name}",
        "",
        f"A sparse fine-tuning of a {kind}".rstrip() + f" for `{base}`, to be added to its weights "
        "and to other fine-tunings of it ([Ansell et al., ACL "
        "2022](https://aclanthology.org/2022.acl-long.125/)).",
        "",
        "```python",
        *_usage(sft, repository, base, pipeline),
        "```",
        "",
        "| | |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in _facts(sft).items()),
        "",
        "## Where its entries lie",
        "",
        "| part | entries | share of all |",
        "|---|---|---|",
        *(
            f"| {part} | {number:,} | {number / num_entries(sft):.1%} |"
            for part, number in places(sft).items()
        ),
        "",
    ]
    if scores:
        lines += ["## Scores", "", "| score | |", "|---|---|"]
        lines += [f"| {score} | {value:.4f} |" for score, value in scores.items()]
        lines += [""]
    return "\n".join(lines)


def is_local(name: str) -> bool:
    """Whether a base model's name is a folder's, and no repository's on the hub."""
    return name.count("/") > 1 or name.startswith((".", "~", "/")) or Path(name).exists()


def shown(name: str) -> str:
    """The name of a model without the folders that it lay in."""
    return Path(name).name if is_local(name) else name


def num_entries(sft: Parts) -> int:
    """K of a fine-tuning."""
    return sum(map(len, sft.entries.values()))


def places(sft: Parts) -> dict[str, int]:
    """How many entries lie in the embeddings, in each layer, and elsewhere."""
    counts: Counter[str] = Counter()
    for name, delta in sft.entries.items():
        layer = _LAYER.search(name)
        counts[
            f"layer {layer[1]}"
            if layer
            else "embeddings"
            if "embed" in name or "shared" in name
            else "elsewhere"
        ] += len(delta)
    layers = sorted((p for p in counts if p.startswith("layer")), key=lambda p: int(p.split()[1]))
    parts = ["embeddings", *layers, "elsewhere"]
    return {part: counts[part] for part in parts if counts[part]}


def _facts(sft: Parts) -> dict[str, str]:
    meta, num_params = sft.metadata, num_entries(sft)
    share = f" ({num_params / meta.num_maskable:.2%} of the maskable)" if meta.num_maskable else ""
    facts = {
        "entries, K": f"{num_params:,}{share}",
        "whole tensors (head)": ", ".join(f"`{name}`" for name in sft.whole) or None,
        "language": meta.language,
        "task": meta.task,
        "labels": ", ".join(meta.labels) if meta.labels else None,
        "base model": f"`{shown(meta.base_model)}`" if meta.base_model else None,
        "revision of the base": meta.base_revision,
        "trained over": ", ".join(f"`{shown(name)}`" for name in meta.trained_with) or None,
        "selection": meta.selection,
        "rewinding": meta.rewinding,
        "phases": "; ".join(f"{name}: {_phase(phase)}" for name, phase in meta.phases.items()),
        "versions": ", ".join(f"{name} {version}" for name, version in meta.versions.items()),
    }
    return {key: value.replace("|", "\\|") for key, value in facts.items() if value}


def _phase(phase: Any) -> str:
    if not isinstance(phase, Mapping):
        return str(phase)
    return ", ".join(f"{key} {value}" for key, value in phase.items() if value is not None)


def _usage(sft: Parts, repository: str, base: str, pipeline: str | None) -> list[str]:
    meta = sft.metadata
    if meta.task == "dp":
        return [
            "from ltsft.tasks import Parser",
            "",
            f'parser = Parser("{base}", base_sfts=["{repository}"])  # and a language\'s after it',
            'parser.parse([["Some", "words"]])',
        ]
    auto = _CLASSES.get(pipeline or "", "AutoModel")
    outputs = ", id2label=dict(enumerate(sft.metadata.labels))" if meta.labels and sft.whole else ""
    beside = "  # and a task's, in its own class" if meta.head == "language" else ""
    return [
        "import torch",
        "from ltsft import SparseFineTuning",
        f"from transformers import {auto}",
        "",
        f'sft = SparseFineTuning.from_pretrained("{repository}")  # {FILE_NAME}',
        f'model = {auto}.from_pretrained("{base}", dtype=torch.float32{outputs})',
        f"sft.apply(model){beside}",
    ]


def _results(scores: Mapping[str, float], task: str, datasets: Sequence[str]) -> Any:
    from huggingface_hub import EvalResult

    results = []
    for score, value in scores.items():
        metric, _, language = score.partition("/")
        role, _, metric = metric.partition("_")
        results.append(
            EvalResult(
                task_type=task,
                dataset_type=datasets[0] if datasets else "unknown",
                dataset_name=language or (datasets[0] if datasets else "unknown"),
                dataset_split=role,
                metric_type=metric,
                metric_value=value,
            )
        )
    return results or None

"""What is measured. A case sets up once; each ``next`` runs it once and yields its seconds.

Cases of a group do the same work in several ways; the first is what the others are compared with.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from benchmarks.data_cases import (
    evaluation_encoder,
    evaluation_parser,
    input_bare,
    input_blocks,
    words_bare,
    words_tokenized,
)
from benchmarks.sizes import Size
from ltsft.sparse import (
    Applied,
    Compact,
    Hold,
    LargestChange,
    Masked,
    SparseDelta,
    SparseFineTuning,
    add_l1_gradient,
)
from ltsft.sparse.ledger import base_digests

Case = Callable[[Size], Iterator[float]]


def _steps(
    model: nn.Module,
    batch: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    after_backward: Callable[[], None] = lambda: None,
) -> Iterator[float]:
    while True:
        start = time.perf_counter()
        optimizer.zero_grad()
        model(**batch).loss.backward()
        after_backward()
        optimizer.step()
        yield time.perf_counter() - start


def _adamw(model: nn.Module) -> torch.optim.AdamW:
    parameters = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(parameters, lr=1e-5, weight_decay=0.0, fused=True)


def step_full(size: Size) -> Iterator[float]:
    """A step of plain full fine-tuning, with fused AdamW."""
    model = size.model()
    return _steps(model, size.batch(), _adamw(model))


def step_dense(size: Size) -> Iterator[float]:
    """A step of the dense phase, with the L1 penalty."""
    model = size.model()
    ticket = size.ticket(model)
    hold = Masked()  # attached to nothing: everything moves
    return _steps(model, size.batch(), _adamw(model), lambda: add_l1_gradient(ticket, 0.1, hold))


def _step_held(size: Size, hold: Hold, l1: float = 0.0) -> Iterator[float]:
    model = size.model()
    ticket = size.ticket(model)
    optimizer = _adamw(model)
    hold.attach(ticket, [optimizer])
    if not hold.needs_initial:
        ticket.release()

    def after_backward() -> None:
        hold.mask_gradients()
        if l1:
            add_l1_gradient(ticket, l1, hold)

    return _steps(model, size.batch(), optimizer, after_backward)


def step_masked(size: Size) -> Iterator[float]:
    """A step of the sparse phase, held by `Masked`."""
    return _step_held(size, Masked())


def step_compact(size: Size) -> Iterator[float]:
    """A step of the sparse phase, held by `Compact`."""
    return _step_held(size, Compact())


def step_compact_l1(size: Size) -> Iterator[float]:
    """The same with the L1 penalty."""
    return _step_held(size, Compact(), l1=0.1)


def step_lora(size: Size) -> Iterator[float]:
    """A step of LoRA by `peft` in all linear layers, with about K numbers."""
    from peft import LoraConfig, get_peft_model  # type: ignore[import-not-found]

    def lora(rank: int) -> nn.Module:
        config = LoraConfig(
            r=rank,
            target_modules="all-linear",
            exclude_modules=["classifier"],
            modules_to_save=["classifier"],
        )
        model: nn.Module = get_peft_model(size.model(), config)
        return model

    def num_trained(model: nn.Module) -> int:
        return sum(p.numel() for p in model.parameters() if p.requires_grad)

    rank = max(1, round(size.num_params / num_trained(lora(1))))
    model = lora(rank).train()
    return _steps(model, size.batch(), _adamw(model))


def _moved(size: Size) -> tuple[nn.Module, dict[str, Tensor]]:
    """A model, and another one's weights that it is said to have started from."""
    model = size.model()
    initial = {name: p.detach().clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter) * 1e-3
    return model, initial


def selection_topk(size: Size) -> Iterator[float]:
    """The K largest |Δ|: all of them in one tensor, and `topk`."""
    model, initial = _moved(size)
    while True:
        start = time.perf_counter()
        parts = [(p.detach() - initial[n]).abs().flatten() for n, p in model.named_parameters()]
        chosen = torch.cat(parts).topk(size.num_params).indices
        masks, first = {}, 0
        flat = torch.zeros(sum(map(len, parts)), dtype=torch.bool)
        flat[chosen] = True
        for name, parameter in model.named_parameters():
            masks[name] = flat[first : first + parameter.numel()].view_as(parameter)
            first += parameter.numel()
        yield time.perf_counter() - start


def selection_streamed(size: Size) -> Iterator[float]:
    """`Ticket.select`, with its lines for the log."""
    model = size.model()
    ticket = size.ticket(model)
    ticket.mask = None
    with torch.no_grad():
        for name in ticket.scope.maskable:
            parameter = ticket.parameters[name]
            parameter += torch.randn_like(parameter) * 1e-3
    while True:
        start = time.perf_counter()
        ticket.select(LargestChange(), size.num_params, tell=lambda line: None)
        yield time.perf_counter() - start
        ticket.mask = None


def _two(size: Size, model: nn.Module) -> list[SparseFineTuning]:
    """Fine-tunings of two languages, each of K entries."""
    share = size.num_params / sum(p.numel() for p in model.parameters())
    generator = torch.Generator().manual_seed(0)
    sfts = []
    for _ in range(2):
        entries = {}
        for name, parameter in model.named_parameters():
            number = round(parameter.numel() * share)
            drawn = torch.randint(parameter.numel(), (number,), generator=generator)
            indices = drawn.unique()
            values = torch.randn(len(indices), generator=generator) * 1e-3
            entries[name] = SparseDelta(tuple(parameter.shape), indices, values)
        sfts.append(SparseFineTuning(entries))
    return sfts


def switch_coo(size: Size) -> Iterator[float]:
    """From one language to another: COO tensors subtracted and added, which drifts."""
    model = size.model()
    parameters = dict(model.named_parameters())
    both = [
        {
            name: torch.sparse_coo_tensor(
                torch.stack(torch.unravel_index(delta.indices, delta.shape)),
                delta.values,
                delta.shape,
                is_coalesced=True,
                check_invariants=False,
            )
            for name, delta in sft.entries.items()
        }
        for sft in _two(size, model)
    ]
    with torch.no_grad():
        for name, delta in both[0].items():
            parameters[name] += delta
        while True:
            start = time.perf_counter()
            for name, delta in both[0].items():
                parameters[name] -= delta
            for name, delta in both[1].items():
                parameters[name] += delta
            yield time.perf_counter() - start
            both.reverse()


def switch_applied(size: Size) -> Iterator[float]:
    """The same by `revert` and `apply`, bit for bit."""

    def revert_and_apply(applied: Applied, sft: SparseFineTuning, model: nn.Module) -> Applied:
        applied.revert()
        return sft.apply(model)

    return _switch(size, revert_and_apply)


def switch_in_one_pass(size: Size) -> Iterator[float]:
    """The same by `switch`."""
    return _switch(size, lambda applied, sft, _: applied.switch(sft))


def _switch(
    size: Size, exchange: Callable[[Applied, SparseFineTuning, nn.Module], Applied]
) -> Iterator[float]:
    model = size.model()
    sfts = _two(size, model)
    applied = sfts[0].apply(model)
    while True:
        sfts.reverse()
        start = time.perf_counter()
        applied = exchange(applied, sfts[0], model)
        yield time.perf_counter() - start


def load_dense(size: Size) -> Iterator[float]:
    """Weights of a whole model from a safetensors file."""
    from safetensors.torch import load_file, save_file

    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file({n: p.detach() for n, p in size.model().named_parameters()}, path)
        while True:
            start = time.perf_counter()
            {name: tensor.clone() for name, tensor in load_file(path).items()}
            yield time.perf_counter() - start


def _load_sft(size: Size, *, packed: bool = False, verify: bool = True) -> Iterator[float]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sft.safetensors"
        _two(size, size.model())[0].save(path, packed=packed)
        while True:
            start = time.perf_counter()
            SparseFineTuning.load(path, verify=verify)
            yield time.perf_counter() - start


def load_sft(size: Size) -> Iterator[float]:
    """`SparseFineTuning.load`, which checks what it reads."""
    return _load_sft(size)


def load_packed(size: Size) -> Iterator[float]:
    """The same of a packed file."""
    return _load_sft(size, packed=True)


def load_mapped(size: Size) -> Iterator[float]:
    """The same of a file that was checked before."""
    return _load_sft(size, verify=False)


def apply_first(size: Size) -> Iterator[float]:
    """The first `apply` of a process, which hashes the base model's weights."""
    model = size.model()
    sft = _two(size, model)[0]
    sft.metadata.base_digests.update(base_digests(model, sft.entries))
    while True:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.0)  # no digest from before is trusted
        start = time.perf_counter()
        applied = sft.apply(model)
        yield time.perf_counter() - start
        applied.revert()


def _inference(size: Size, model: nn.Module) -> Iterator[float]:
    batch = size.batch()
    model.eval()
    with torch.inference_mode():
        while True:
            start = time.perf_counter()
            model(**batch)
            yield time.perf_counter() - start


def inference_base(size: Size) -> Iterator[float]:
    """A batch through the base model."""
    return _inference(size, size.model())


def inference_composed(size: Size) -> Iterator[float]:
    """The same with two fine-tunings in place."""
    model = size.model()
    for sft in _two(size, model):
        sft.apply(model)
    return _inference(size, model)


def _command(*command: str) -> Iterator[float]:
    while True:
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], capture_output=True)
        yield time.perf_counter() - start


def start_python(size: Size) -> Iterator[float]:
    """Python alone."""
    return _command("-c", "pass")


def start_torch(size: Size) -> Iterator[float]:
    """Python and torch."""
    return _command("-c", "import torch")


def start_inspect(size: Size) -> Iterator[float]:
    """`ltsft inspect` of a fine-tuning, which looks at all of its file."""
    with TemporaryDirectory() as folder:
        _two(size, size.model())[0].save_pretrained(folder)
        yield from _command("-m", "ltsft.cli", "inspect", folder)


def start_mistake(size: Size) -> Iterator[float]:
    """`ltsft fit` of data that are not there."""
    return _command("-m", "ltsft.cli", "fit", "--config", "ltsft:task/pos", "--data.train", "x.tsv")


GROUPS: dict[str, dict[str, Case]] = {
    "step": {
        "full fine-tuning": step_full,
        "dense phase, L1": step_dense,
        "sparse phase, Masked": step_masked,
        "sparse phase, Compact": step_compact,
        "sparse phase, Compact, L1": step_compact_l1,
    },
    "selection": {"concatenate and topk": selection_topk, "Ticket.select": selection_streamed},
    "switch": {
        "COO subtract and add": switch_coo,
        "revert and apply": switch_applied,
        "switch": switch_in_one_pass,
    },
    "load": {
        "dense checkpoint": load_dense,
        "SparseFineTuning.load": load_sft,
        "packed": load_packed,
        "mapped": load_mapped,
        "first apply": apply_first,
    },
    "inference": {"base model": inference_base, "composed": inference_composed},
    "start": {
        "python": start_python,
        "import torch": start_torch,
        "ltsft inspect": start_inspect,
        "ltsft fit, a wrong path": start_mistake,
    },
    "input": {"encode_batch_fast": input_bare, "raw text": input_blocks},
    "words": {"encode_batch_fast": words_bare, "tokenize_words": words_tokenized},
    "evaluation": {"encoder": evaluation_encoder, "Parser": evaluation_parser},
}
with suppress(ImportError):
    import peft  # noqa: F401

    GROUPS["step"]["LoRA (peft)"] = step_lora

"""What test_shard compares: done by one process in place, or by ranks that share a model out.

Usage, in each of the processes: python -m tests.sparse.sharded_loop FOLDER
"""

import os
import sys
from collections import Counter
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard, init_device_mesh
from torch.utils._python_dispatch import TorchDispatchMode

from ltsft.errors import LtsftError
from ltsft.sparse import (
    Biases,
    ChangeTimesMagnitude,
    Compact,
    FisherInformation,
    Growing,
    LargestChange,
    LearningRate,
    Masked,
    Quota,
    Random,
    ScopeRules,
    Shrinking,
    Sign,
    SparseDelta,
    SparseFineTuning,
    Ticket,
    add_l1_gradient,
    current_ranks,
)

NUM_RANKS = int(os.environ.get("WORLD_SIZE", 1))
RANK = int(os.environ.get("LOCAL_RANK", 0))
SCOPE = ScopeRules(whole=["head"], frozen=["type:LayerNorm", "fixed"])


class Net(nn.Module):
    """Rows that 2 or 4 ranks cannot share evenly, a tied output, and a tensor of one entry."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(11, 4)
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.norm = nn.LayerNorm(4)
        self.fixed = nn.Linear(4, 4)
        self.out = nn.Linear(4, 11, bias=False)
        self.out.weight = self.embedding.weight
        self.scale = nn.Parameter(torch.ones(1))
        self.head = nn.Linear(11, 3)
        self.double()

    def forward(self, ids):
        hidden = self.embedding(ids)
        for layer in self.layers:
            hidden = hidden + layer(hidden).tanh()
        return self.head(self.out(self.norm(self.fixed(hidden))) * self.scale)


def net() -> Net:
    """The same weights on all ranks, shared out where there are several."""
    model = Net()
    if NUM_RANKS > 1:
        mesh = init_device_mesh("cpu", (NUM_RANKS,))
        for layer in model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
    return model


def ticket_of(model: nn.Module, scope: ScopeRules = SCOPE) -> Ticket:
    return Ticket(model, scope, ranks=current_ranks(model), purpose="pos en")


def move(ticket: Ticket) -> None:
    """Stand for a dense phase: the same θ¹ for any number of ranks, with many equal changes."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in ticket.parameters.values():
            change = torch.randint(-3, 4, parameter.shape, generator=generator) / 8
            if isinstance(parameter, DTensor):
                rows = change.chunk(NUM_RANKS)
                change = rows[RANK] if len(rows) > RANK else change[:0]
                parameter = parameter.to_local()
            parameter += change


def positions(ticket: Ticket, name: str) -> list[int]:
    """Where the mask is true in the whole tensor, by torch's own rule of who has which rows."""
    assert ticket.mask is not None
    mask, parameter = ticket.mask[name], ticket.parameters[name]
    if isinstance(parameter, DTensor):
        before = sum(len(rows) for rows in torch.empty(parameter.shape).chunk(NUM_RANKS)[:RANK])
        padded = torch.zeros(parameter.shape, dtype=torch.bool)
        padded[before : before + len(mask)] = mask
        whole = padded.int()
        dist.all_reduce(whole)
        mask = whole.bool()
    return mask.flatten().nonzero().flatten().tolist()


def choose(selection, num_params=0, rounds=None, scope=SCOPE):
    """The entries that are selected from given weights, and what is said of them."""
    ticket, lines = ticket_of(net(), scope), []
    move(ticket)
    if rounds is None:
        ticket.select(selection, num_params, tell=lines.append)
    else:
        shares = rounds.num_selected(ticket.candidates().num_maskable(), num_params)
        for share in shares:
            ticket.select(selection, share, rounds, tell=lines.append)
            if rounds.sparse_between:
                ticket.rewind(LearningRate())
                ticket.begin_round()
                move(ticket)
    return {name: positions(ticket, name) for name in ticket.mask}, lines


def train(folder: Path, hold):
    """Both phases by a plain loop: 8 examples a step, clipping, decay, l1, a validation."""
    model = net()
    ticket = ticket_of(model)
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(0, 11, (20, 8, 5), generator=generator)
    labels = torch.randint(0, 3, (20, 8, 5), generator=generator)
    mine = slice(RANK * 8 // NUM_RANKS, (RANK + 1) * 8 // NUM_RANKS)

    def phase(held=None):
        model.train()
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=0.05, weight_decay=0.1)
        if held is not None:
            held.attach(ticket, [optimizer])
        start = model(ids[0]).detach()
        for x, y in zip(ids, labels, strict=True):
            optimizer.zero_grad()
            scores = model(x[mine])
            nn.functional.cross_entropy(scores.flatten(0, 1), y[mine].flatten()).backward()
            if held is not None:
                held.mask_gradients()
            add_l1_gradient(ticket, 1.0, held)
            stepped = [p for group in optimizer.param_groups for p in group["params"]]
            shapes = [tuple(p.shape) for p in stepped]
            nn.utils.clip_grad_norm_(stepped, 0.5)
            optimizer.step()
        model.eval()
        with torch.no_grad():
            return start, shapes, model(ids[0])  # which leaves whole parameters in the model

    phase()
    ticket.select(LargestChange(), 13)
    ticket.rewind()
    start, shapes, end = phase(hold)
    if not hold.needs_initial:
        ticket.release()
    moved = ticket.moved()
    hold.detach()
    sft = ticket.difference(task="pos")
    sft.save_pretrained(folder / f"rank{RANK}")
    return {
        "mask": {name: positions(ticket, name) for name in ticket.mask},
        "start": start,
        "stepped": shapes,
        "end": end,
        "moved": moved,
        "kept": sum(t.numel() for n, t in ticket.initial.items() if n in ticket.mask),
    }


class Received(TorchDispatchMode):
    """Counts the bytes that this rank receives from others."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "c10d":
            for tensor in _tensors(args[0]):
                self.bytes[func.name().split("::")[1]] += tensor.numel() * tensor.element_size()
        return func(*args, **(kwargs or {}))


def _tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors(inner)


def count_traffic() -> dict[str, int]:
    """Bytes of a selection among 200,000 entries, and of going back to the start."""
    model = nn.Linear(400, 500, bias=False)
    mesh = init_device_mesh("cpu", (NUM_RANKS,))
    fully_shard(model, mesh=mesh)
    ticket = ticket_of(model, ScopeRules())
    move(ticket)
    with Received() as received:
        ticket.select(LargestChange(), 1000)
        ticket.rewind()
    return dict(received.bytes)


def refusals() -> dict[str, str]:
    """What each rank is told; all of them alike, or the others would wait for ever."""
    mesh = init_device_mesh("cpu", (NUM_RANKS,))
    model = net()
    ticket = ticket_of(model)

    def by_columns():
        linear = nn.Linear(4, 4)
        fully_shard(
            linear, mesh=mesh, shard_placement_fn=lambda parameter: Shard(parameter.ndim - 1)
        )
        return ticket_of(linear, ScopeRules())

    def in_part():
        both = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        fully_shard(both[0], mesh=mesh)
        return ticket_of(both, ScopeRules())

    def not_finite():
        other = ticket_of(net())
        if RANK == 1:
            other.parameters["embedding.weight"].to_local().data[0, 0] = torch.nan
        other.select(LargestChange(), 5)

    def moved():
        other = ticket_of(net())
        other.select(Random(), 5)
        if RANK == 1:
            other.parameters["embedding.weight"].to_local().data += 1
        other.difference()

    def of_scale():
        delta = SparseDelta((1,), torch.tensor([0]), torch.ones(1))
        return SparseFineTuning({"scale": delta})

    told = {}
    for name, attempt in {
        "no ranks": lambda: Ticket(model, SCOPE),
        "by columns": by_columns,
        "in part": in_part,
        "selection": lambda: ticket.select(FisherInformation(), 5),
        "rewinding": lambda: (ticket.select(LargestChange(), 5), ticket.rewind(Sign())),
        "apply": lambda: of_scale().apply(model),
        "not finite": not_finite,
        "moved": moved,
    }.items():
        try:
            attempt()
            told[name] = ""
        except LtsftError as error:
            told[name] = str(error)
    return told


CHOICES = {
    **{f"changes {k}": lambda k=k: choose(LargestChange(), k) for k in (1, 7, 40, 60, 80, 84, 85)},
    "times magnitude": lambda: choose(ChangeTimesMagnitude(), 20),
    "at random": lambda: choose(Random(seed=3), 20),
    "biases": lambda: choose(Biases()),
    "layer by layer": lambda: choose(Quota(LargestChange()), 20),
    "growing": lambda: choose(LargestChange(), 20, Growing(2)),
    "shrinking": lambda: choose(LargestChange(), 20, Shrinking(3)),
    "of one entry": lambda: choose(LargestChange(), 1, scope=ScopeRules(maskable=["scale"])),
}
HOLDS = {"masked": Masked, "compact": Compact}
CAN_TRAIN = hasattr(torch.cpu.Stream, "record_event")
"""Whether this torch computes with what is shared out on CPUs; 2.6 does on GPUs alone."""


def main(root: Path) -> None:
    """Do everything; write what this rank has after each."""
    torch.set_num_threads(1)
    os.environ["RANK"] = str(RANK)
    dist.init_process_group("gloo")
    results = {name: choice() for name, choice in CHOICES.items()}
    for name, hold in HOLDS.items() if CAN_TRAIN else ():
        results[name] = train(root / name, hold())
    results["traffic"] = count_traffic()
    results["refusals"] = refusals()
    torch.save(results, root / f"rank{RANK}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

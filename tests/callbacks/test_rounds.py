"""Select and rewind several times: against loops written out by hand, with full sorts."""

import re
from itertools import pairwise

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from ltsft.callbacks import Phase, UntilSettled
from ltsft.data.serving.examples import Examples
from ltsft.data.serving.loading import TrainingLoader
from ltsft.data.serving.sampling import TrainingSampler
from ltsft.errors import LtsftError
from ltsft.sparse import (
    Growing,
    LargestChange,
    Prune,
    Random,
    ScopeRules,
    Shrinking,
    ToStep,
    select_largest,
)
from tests.callbacks.plain import Plain, callback, data, trainer, values
from tests.callbacks.test_resume import SaveAt

K, DENSE, SPARSE, ROUNDS = 10, 6, 8, 3


def train(module, steps, masks, initial):
    """One phase in which only the entries of `masks` move."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.05)
    batches = [batch for _ in range(10) for batch in data()][:steps]
    for step, batch in enumerate(batches):
        module.loss(batch).backward()
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / steps)
        for name, parameter in module.named_parameters():
            parameter.grad[~masks[name]] = 0
        optimizer.step()
        optimizer.zero_grad()
        for name, parameter in module.named_parameters():
            parameter.data[~masks[name]] = initial[name][~masks[name]]


def shrinking_by_hand():
    module = Plain()
    initial = values(module)
    masks = {name: torch.ones_like(value, dtype=torch.bool) for name, value in initial.items()}
    total = sum(value.numel() for value in initial.values())
    sizes = []
    for number in range(1, ROUNDS + 1):
        train(module, DENSE, masks, initial)
        size = K if number == ROUNDS else round(total * (K / total) ** (number / ROUNDS))
        change = [
            ((value - initial[name]).abs().masked_fill(~masks[name], -1)).flatten()
            for name, value in values(module).items()
        ]
        chosen = torch.zeros(total, dtype=torch.bool)
        chosen[torch.cat(change).argsort(descending=True, stable=True)[:size]] = True
        parts = chosen.split([len(c) for c in change])
        masks = {
            name: part.view(value.shape)
            for (name, value), part in zip(initial.items(), parts, strict=True)
        }
        sizes.append(size)
        for name, parameter in module.named_parameters():
            parameter.data.copy_(initial[name])
    train(module, SPARSE, masks, initial)
    return module, masks, sizes


def growing_by_hand():
    """Each round adds the largest changes among what is left, and keeps what it trained."""
    module = Plain()
    initial = values(module)
    everything = {name: torch.ones_like(value, dtype=torch.bool) for name, value in initial.items()}
    names, shapes = list(initial), [value.shape for value in initial.values()]
    masks = {name: ~mask for name, mask in everything.items()}
    sizes = [4, 3, 3]
    for size in sizes:
        start = values(module)
        train(module, DENSE, everything, initial)
        change = torch.cat([(values(module)[n] - start[n]).abs().flatten() for n in names])
        taken = torch.cat([masks[n].flatten() for n in names])
        change[taken] = -1
        taken[change.argsort(descending=True, stable=True)[:size]] = True
        parts = taken.split([shape.numel() for shape in shapes])
        masks = {n: part.view(s) for n, part, s in zip(names, parts, shapes, strict=True)}
        for name, parameter in module.named_parameters():
            parameter.data.copy_(start[name])
        train(module, SPARSE, masks, initial)
    return module, masks, sizes


BY_HAND = {
    "growing": (Growing(ROUNDS), growing_by_hand, ROUNDS * (DENSE + SPARSE)),
    "shrinking": (Shrinking(ROUNDS), shrinking_by_hand, ROUNDS * DENSE + SPARSE),
}


def fit(ckpt_path=None, extra=(), **settings):
    module = Plain()
    phases = Phase(max_steps=DENSE), Phase(max_steps=SPARSE)
    sft = callback(K, *phases, **({"rounds": Shrinking(ROUNDS)} | settings))
    run = trainer(sft, *extra)
    run.fit(module, data(), ckpt_path=ckpt_path)
    return module, sft.sft, run


@pytest.mark.parametrize("case", BY_HAND)
def test_rounds_equal_a_loop_written_by_hand(case):
    """Same final mask and weights, to the bit; everything else stays at its start."""
    rounds, by_hand, num_steps = BY_HAND[case]
    expected, masks, sizes = by_hand()
    module, sft, run = fit(rounds=rounds)
    assert run.global_step == num_steps
    assert sft.num_params == sum(int(mask.sum()) for mask in masks.values()) == K
    assert sft.metadata.rounds == str(rounds)
    assert sum(phase["steps"] for phase in sft.metadata.phases.values()) == num_steps
    assert sizes == rounds.num_selected(sum(p.numel() for p in module.parameters()), K)
    before = values(Plain())
    for name, value in values(module).items():
        assert torch.equal(value, expected.get_parameter(name)), name
        assert torch.equal(value[~masks[name]], before[name][~masks[name]])


class Fickle(LargestChange):
    """Prefers late entries in one round and early ones in the next, whatever changed."""

    def __init__(self):
        self.masks = []

    def select(self, candidates, num_params):
        scores, first = {}, 0
        for name, parameter in candidates.parameters():
            places = torch.arange(first, first + parameter.numel(), dtype=torch.float32)
            first += parameter.numel()
            scores[name] = (1000 - places if len(self.masks) % 2 else places).view(parameter.shape)
        self.masks.append(select_largest(scores, num_params, candidates.within))
        return self.masks[-1]


def test_a_round_chooses_among_what_the_one_before_left():
    """Also where the criterion would rather have others."""
    selection = Fickle()
    fit(selection=selection)
    assert len(selection.masks) == ROUNDS
    for before, after in pairwise(selection.masks):
        assert after.num_selected < before.num_selected
        assert all(not (after[name] & ~before[name]).any() for name in after)


def test_rounds_without_a_sparse_phase():
    """The last dense phase of the two that prune ends the fit."""
    _, sft, run = fit(rewinding=Prune(), rounds=Shrinking(2))
    assert run.global_step == 2 * DENSE
    assert sft.num_params == K


def test_later_rounds_start_from_what_earlier_ones_learned():
    """Growing, heads too: the second round begins where the first ended, its first loss says so."""

    class Watched(Plain):
        def training_step(self, batch, batch_idx):
            if self.trainer.global_step in (DENSE, DENSE + SPARSE, 2 * DENSE + SPARSE):
                self.seen[self.trainer.global_step] = values(self)
            return super().training_step(batch, batch_idx)

    module = Watched()
    module.seen = {}
    before = values(module)
    phases = Phase(max_steps=DENSE), Phase(max_steps=SPARSE)
    scope = ScopeRules(whole=["layers.3"])
    trainer(callback(K, *phases, rounds=Growing(2), scope=scope)).fit(module, data())
    first, learned, second = module.seen.values()
    for name, value in before.items():
        assert torch.equal(first[name], value)
        assert torch.equal(second[name], learned[name])
    assert not torch.equal(learned["layers.3.weight"], before["layers.3.weight"])
    assert (learned["layers.0.weight"] != before["layers.0.weight"]).sum() > 0


def test_each_round_waits_anew_for_its_entries_to_settle():
    """With a patience of three overlaps no round can end before its fourth validation."""
    for rounds in (Growing(2), Shrinking(2)):
        module = Plain()
        sft = callback(
            K,
            Phase(max_epochs=40),
            Phase(max_steps=5),
            rounds=rounds,
            until_settled=UntilSettled(overlap=0.5, patience=3),
        )
        run = trainer(sft)
        run.fit(module, data(), data(seed=1))
        per_round = sft.sft.metadata.phases["dense"]["steps"] / 2
        assert 4 * len(data()) <= per_round < 40 * len(data())


@pytest.mark.parametrize("rounds", [Growing(2), Shrinking(3)], ids=str)
@pytest.mark.parametrize("hook", ["on_train_epoch_end", "on_validation_end", "on_train_batch_end"])
def test_resumed_runs_end_the_same(tmp_path, hook, rounds):
    ends = [6, 14, 20, 28] if rounds.sparse_between else [6, 12, 18, 26]
    steps = ends if hook == "on_train_batch_end" else ()  # the loader does not resume within a pass
    module, expected, _ = fit(extra=[SaveAt(tmp_path, hook, steps)], rounds=rounds)
    for path in tmp_path.glob("*.ckpt"):
        resumed, sft, _ = fit(ckpt_path=path, rounds=rounds)
        assert sft == expected, path.name
        for name, value in values(module).items():
            assert torch.equal(resumed.get_parameter(name), value), (path.name, name)


def test_selecting_within_a_set_equals_sorting_its_scores():
    """Exactly K, all inside, the largest there; where all scores are 0 too."""
    generator = torch.Generator().manual_seed(0)
    scores = {"a": torch.rand(5, 7, generator=generator), "b": torch.zeros(11)}
    within = {n: torch.rand(s.shape, generator=generator) < 0.5 for n, s in scores.items()}
    inside = torch.cat([scores[name][within[name]] for name in scores])
    for k in (0, 3, len(inside)):
        mask = select_largest(scores, k, within)
        assert mask.num_selected == k
        assert all(not (mask[name] & ~within[name]).any() for name in scores)
        chosen = torch.cat([scores[name][mask[name]] for name in scores])
        assert chosen.sort().values.tolist() == inside.sort().values[len(inside) - k :].tolist()
    with pytest.raises(LtsftError):
        select_largest(scores, len(inside) + 1, within)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rounds": Growing(2), "selection": Random()}, "`Random`, which has no dense phase"),
        (
            {"rounds": Growing(2), "rewinding": Prune()},
            r"`sparse.rounds` is expected to be `Shrinking` with `Prune`.* got Growing\(2\)",
        ),
    ],
)
def test_rounds_that_cannot_be(settings, message):
    with pytest.raises(LtsftError, match=message):
        callback(K, **settings)
    with pytest.raises(LtsftError, match=r"`sparse.rounds.num` is expected to be 1 or more.* 0"):
        Growing(0)


class Orders(Plain):
    """Notes each batch."""

    def training_step(self, batch, batch_idx):
        self.seen = [*getattr(self, "seen", []), batch[0].flatten()[0].item()]
        return super().training_step(batch, batch_idx)


def shuffled(num=40):
    """Our own loader, whose order follows from phase and pass."""
    items = list(zip(*(t for t in data(num).dataset.tensors), strict=True))
    return TrainingLoader(
        Examples(items),
        TrainingSampler(num, 4, seed=3),
        lambda drawn: torch.utils.data.default_collate([item for item, _ in drawn]),
    )


@pytest.mark.parametrize("rounds", [Growing(2), Shrinking(2)], ids=str)
def test_rounds_have_orders_of_their_own(rounds, tmp_path):
    """None repeats the batches of the one before, and a fit resumed at any switch goes on right."""

    def run(ckpt_path=None, *extra):
        module = Orders()
        sft = callback(K, Phase(max_steps=DENSE), Phase(max_steps=SPARSE), rounds=rounds)
        trainer(sft, *extra).fit(module, shuffled(), ckpt_path=ckpt_path)
        return module, sft.sft

    ends = [6, 14, 20] if rounds.sparse_between else [6, 12]
    module, expected = run(None, SaveAt(tmp_path, "on_train_batch_end", ends))
    second = DENSE + SPARSE if rounds.sparse_between else DENSE
    assert module.seen[:DENSE] != module.seen[second : second + DENSE]
    for step in ends:
        again, sft = run(tmp_path / f"{step}.ckpt")
        assert again.seen == module.seen[step:], step
        assert sft == expected, step


def test_copies_of_the_model_are_dropped_once_of_no_use():
    """In the last sparse phase only θ⁰ is held, and goes into checkpoints."""
    kept = {}

    class Watch(Callback):
        def on_train_batch_end(self, trainer, *_):
            state = sft.state_dict()
            kept[trainer.global_step] = (
                len(state["ticket"]["start"]),
                len(state["ticket"]["early"]),
            )

    sft = callback(
        K, Phase(max_steps=DENSE), Phase(max_steps=SPARSE), rounds=Growing(2), rewinding=ToStep(2)
    )
    trainer(sft, Watch()).fit(Plain(), data())
    num = len(list(Plain().parameters()))
    assert kept[3] == (0, num)
    assert kept[DENSE + 1] == (0, 0)
    assert kept[DENSE + SPARSE - 2 + 3] == (num, num)
    assert kept[max(kept)] == (0, 0)


def test_the_log_speaks_of_entries_that_could_be_chosen(caplog):
    """Growing: what an earlier round selected is not "left out", however much it changed again."""
    with caplog.at_level("INFO", "lightning.pytorch.utilities.rank_zero"):
        fit(rounds=Growing(2))
    said = re.findall(r"smallest \|Δ\| selected (\S+), largest left out (\S+)\.", caplog.text)
    assert len(said) == 2
    assert all(float(selected) >= float(left_out) for selected, left_out in said)


def test_rewinding_to_a_step_in_each_round():
    """Of both kinds; every phase that goes back to step 2 is 2 steps shorter."""
    for rounds, num_steps in (
        (Growing(2), 2 * DENSE + 2 * (SPARSE - 2)),
        (Shrinking(2), DENSE + (DENSE - 2) + SPARSE - 2),
    ):
        _, sft, run = fit(rounds=rounds, rewinding=ToStep(2))
        assert run.global_step == num_steps
        assert sum(phase["steps"] for phase in sft.metadata.phases.values()) == num_steps

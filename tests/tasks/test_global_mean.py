"""One objective for every task, however a step's batch is cut into ranks and micro-batches.

Judged by a loop written out by hand over the whole batches, with a plain mean of all of it. Float64
and no dropout; sums are taken in another order, hence 1e-10.
"""

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch.nn.functional import cross_entropy
from transformers import AutoModelForMaskedLM

from ltsft.callbacks.settings import resolve_scope
from ltsft.tasks import Tagger
from ltsft.tasks.global_mean import GlobalMean
from ltsft.tasks.loss import loss_where
from tests.callbacks.plain import loader_of, trainer, values
from tests.processes import run_ranks
from tests.tasks.global_batches import (
    CLIP,
    FITS,
    LABELS,
    NUM_PARAMS,
    RATE,
    TASKS,
    fit,
    global_batches,
)
from tests.tiny import CONFIGS, tokenizer


def save_base_without_dropout(folder):
    config = CONFIGS["bert"]()
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    torch.manual_seed(0)
    AutoModelForMaskedLM.from_config(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pretrained model, and what all fits of two and of three processes ended with."""
    folder = tmp_path_factory.mktemp("global")
    save_base_without_dropout(folder / "base")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for num_ranks in (2, 3):
            run_ranks(num_ranks, "tests.tasks.global_batches", str(folder))
    return folder


# --- By hand ------------------------------------------------------------------------------------


def mean_loss(name, model, batch):
    """By transformers' own losses where it has them."""
    inputs = {k: v for k, v in batch.items() if k in ("input_ids", "attention_mask")}
    if name == "masked tokens":
        return model(**inputs, labels=batch["labels"]).loss
    if name == "tags":
        of_tokens = torch.full_like(batch["input_ids"], -100)
        of_tokens[:, 1:9] = batch["labels"].masked_fill(batch["labels"] < 0, -100)
        return model(**inputs, labels=of_tokens).loss
    if name == "trees":
        mask = torch.ones_like(batch["heads"], dtype=torch.bool)
        encoded = model(**inputs, word_ids=batch["word_ids"], num_words=11)
        arcs = model.arc_scores(encoded, mask).log_softmax(-1)
        relations = model.all_relation_scores(encoded).log_softmax(-1)
        words = (batch["heads"] >= 0).nonzero().tolist()
        losses = []
        for s, w in words:
            head, relation = batch["heads"][s, w], batch["relations"][s, w]
            losses.append(-arcs[s, w, head])
            if relation >= 0:
                losses.append(-relations[s, w, head, relation])
        return sum(losses) / len(words)
    inputs["token_type_ids"] = batch["token_type_ids"]
    if name == "pairs":
        return model(**inputs, labels=batch["labels"]).loss
    output, has_answer = model(**inputs), batch["start_positions"] >= 0
    start = cross_entropy(output.start_logits[has_answer], batch["start_positions"][has_answer])
    end = cross_entropy(output.end_logits[has_answer], batch["end_positions"][has_answer])
    return (start + end) / 2


def train(name, model, batches, frozen, held):
    """AdamW, a rate that falls to 0, gradients clipped; nothing moves where `held` is True."""
    trained = {n: p for n, p in model.named_parameters() if n not in frozen and p.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=RATE, weight_decay=0.0)
    for step, batch in enumerate(batches):
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / len(batches))
        optimizer.zero_grad()
        mean_loss(name, model, batch).backward()
        for n, where in held.items():
            trained[n].grad[where] = 0
        torch.nn.utils.clip_grad_norm_(trained.values(), CLIP)
        optimizer.step()


def by_hand(name, base, batches):
    """θ² and the selected entries, by a sort of all of them."""
    torch.manual_seed(0)
    task = TASKS[name](base).double()
    scope = resolve_scope(None, task, task.model)
    before = values(task.model)
    train(name, task.model, batches, scope.frozen, {})
    dense = values(task.model)
    sizes = {n: (dense[n] - before[n]).abs() for n in scope.maskable}
    border = torch.cat([size.flatten() for size in sizes.values()]).sort().values[-NUM_PARAMS]
    held = {n: size < border for n, size in sizes.items()}
    task.model.load_state_dict(before, strict=False)
    train(name, task.model, batches, scope.frozen, held)
    return values(task.model), {n: ~where for n, where in held.items()}


def check(state, expected, selected):
    """The weights, and that exactly what is selected moved."""
    for name, after in state["after"].items():
        torch.testing.assert_close(after, expected[name], rtol=0, atol=1e-10, msg=name)
        if name in selected:
            assert torch.equal(after != state["before"][name], selected[name]), name


@pytest.mark.parametrize("name", TASKS)
def test_ranks_and_micro_batches_change_nothing(name, folder):
    """Neither weights and mask nor scores.

    Of a step's micro-batches the first has nothing to score, on the first rank; others little.

    With 12 micro-batches there are some of nothing on all ranks.
    """
    expected, selected = by_hand(name, str(folder / "base"), global_batches(name))
    assert sum(int(where.sum()) for where in selected.values()) == NUM_PARAMS
    states = [torch.load(folder / f"{name} of {num_ranks}.pt") for num_ranks in (2, 3)]
    states += [fit(name, str(folder / "base"), accumulate=n) for n in (1, 2, 3, 12)]
    for state in states:
        check(state, expected, selected)
    assert len({state["mask"] for state in states}) == 1
    for state in states:  # metrics add up in float32
        assert state["scores"] == pytest.approx(states[-1]["scores"], rel=1e-5)


@pytest.mark.parametrize("fit_name", [name for name in FITS if name not in TASKS])
def test_nor_do_ranks_with_micro_batches(fit_name, folder):
    """Both together, under every hold, gates and selections that look at gradients."""
    one = fit(base=str(folder / "base"), **FITS[fit_name] | {"accumulate": 1})
    for num_ranks in (2, 3):
        state = torch.load(folder / f"{fit_name} of {num_ranks}.pt")
        assert state["mask"] == one["mask"]
        for name, after in state["after"].items():
            torch.testing.assert_close(after, one["after"][name], rtol=0, atol=1e-10, msg=name)


def test_a_short_last_step_of_a_pass_is_the_mean_of_what_it_has(folder):
    batches = global_batches("tags")
    batches[-1] = {key: value[:8] for key, value in batches[-1].items()}
    expected, selected = by_hand("tags", str(folder / "base"), batches)
    state = fit("tags", str(folder / "base"), accumulate=3, num_left_out=1)
    check(state, expected, selected)


def test_a_scaled_loss_is_the_same(folder):
    """Scaled gradients are multiplied too; float64 weights are not cast, so nothing is rounded."""
    scaler = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    expected = fit("tags", str(folder / "base"))
    state = fit("tags", str(folder / "base"), accumulate=3, plugins=[scaler])
    assert scaler.scaler.get_scale() > 1
    assert state["mask"] == expected["mask"]
    check(state, expected["after"], {})


def test_in_bfloat16_with_gradients_clipped(folder):
    """As `configs/trainer/bf16.yaml` trains; float64 weights are not cast here either."""
    expected = fit("tags", str(folder / "base"))
    check(
        fit("tags", str(folder / "base"), accumulate=3, precision="bf16-mixed"),
        expected["after"],
        {},
    )


def test_one_process_without_accumulation_takes_the_plain_mean_to_the_bit(folder, monkeypatch):
    state = fit("tags", str(folder / "base"))
    whole = Tagger.training_loss
    monkeypatch.setattr(Tagger, "training_loss", lambda self, batch: whole(self, batch).mean)
    plain = fit("tags", str(folder / "base"))
    for name, after in plain["after"].items():
        assert torch.equal(state["after"][name], after), name
    with pytest.raises(AssertionError):  # a mean for each micro-batch is another objective
        check(fit("tags", str(folder / "base"), accumulate=3), plain["after"], {})


def test_the_logged_loss_is_the_mean_over_the_micro_batch(folder):
    """As shown and plotted, it is this rank's."""
    torch.manual_seed(0)
    task = Tagger(labels=LABELS, base_model=str(folder / "base")).eval()
    batches = global_batches("tags", 1)
    loss = task.training_loss(batches[0]).mean.item()
    run = trainer(max_steps=1, accumulate_grad_batches=2)
    run.fit(task, loader_of(batches))
    assert run.callback_metrics["train_loss"].item() == pytest.approx(loss, rel=1e-6)


class OwnModule(GlobalMean):
    """A user's module, with words of its own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(4, 3).double()

    def training_step(self, batch, batch_idx):
        x, gold = batch
        return self.global_mean(loss_where(gold >= 0, self.layer(x), gold))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_module_of_the_users_own():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 5, 4, generator=generator, dtype=torch.float64)
    gold = torch.randint(-2, 3, (4, 5), generator=generator).clamp(min=-1)
    module, by_hand = OwnModule(), OwnModule()
    run = trainer(max_steps=1, accumulate_grad_batches=4)
    run.fit(module, loader_of([(x[i], gold[i]) for i in range(4)]))
    loss = cross_entropy(by_hand.layer(x).flatten(0, 1), gold.flatten(), ignore_index=-1)
    loss.backward()
    for trained, parameter in zip(module.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(trained, parameter - 0.1 * parameter.grad, rtol=0, atol=1e-14)

"""QuestionAnswering: losses, answers and scores by hand, checkpoints, composing, two processes."""

import json
import shutil
from pathlib import Path
from statistics import median

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForQuestionAnswering

from ltsft.data import QuestionData, Source
from ltsft.errors import LtsftError
from ltsft.exchange.plain_checkpoint import compose
from ltsft.sparse import SparseFineTuning
from ltsft.tasks import MaskedLM, QuestionAnswering
from tests.callbacks.plain import loader_of, trainer, values
from tests.metrics.test_answers import exact, f1
from tests.processes import run_ranks
from tests.tasks.test_encoders import fit, language_batches
from tests.tiny import CONFIGS, save_artificial_base, save_base


@pytest.fixture(params=list(CONFIGS))
def base(request, tmp_path):
    return save_base(tmp_path / "base", request.param)


def window_batches(num=6):
    """Windows of 12: a first token, a question of 3, a separator, a text of 6, a separator."""
    generator = torch.Generator().manual_seed(3)
    for _ in range(num):
        ids = torch.randint(5, 60, (4, 12), generator=generator)
        in_text = (torch.arange(12) > 4) & (torch.arange(12) < 11)
        starts = torch.where(in_text, 2 * (torch.arange(12) - 5), -1).repeat(4, 1)
        first = torch.randint(5, 9, (4,), generator=generator)
        yield {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "token_type_ids": (torch.arange(12) > 4).long().repeat(4, 1),
            "char_starts": starts,
            "char_ends": torch.where(in_text, starts + 1, -1),
            "start_positions": first,
            "end_positions": first + 2,
            "questions": torch.tensor([0, 0, 1, 2]),
            "contexts": ["a b c d e f", "g h i j k l", "m n o p q r"],
            "answers": [["a b"], ["i j k", "l"], []],
            "language": "aa",
        }


def answers_by_hand(task, batch):
    """Try every span of every window of a question: its answer, and by how much null is better."""
    with torch.no_grad():
        logits = task(batch).tolist()
    found = []
    for question, context in enumerate(batch["contexts"]):
        best, text, null = float("-inf"), "", float("inf")
        for window, number in enumerate(batch["questions"].tolist()):
            if number != question:
                continue
            start, end = zip(*logits[window], strict=True)
            null = min(null, start[0] + end[0])
            for i in range(5, 11):
                for j in range(i, min(i + task.max_answer_length, 11)):
                    if start[i] + end[j] > best:
                        best, text = start[i] + end[j], context[2 * (i - 5) : 2 * (j - 5) + 1]
        found.append((text, null - best))
    return found


@pytest.mark.parametrize("with_null", [False, True])
@pytest.mark.parametrize("max_answer_length", [1, 3, 30])
def test_answers_and_scores_are_those_of_trying_everything(tmp_path, with_null, max_answer_length):
    """Every question gets an answer, or (SQuAD 2.0) half of them none."""
    task = QuestionAnswering(
        base_model=save_base(tmp_path / "base"), max_answer_length=max_answer_length
    ).eval()
    task.model.qa_outputs.weight.data *= 30  # far from ties
    batches = list(window_batches())
    by_hand = [answer for batch in batches for answer in answers_by_hand(task, batch)]
    if with_null:
        task.null_threshold = median(margin for _, margin in by_hand)
    expected = [
        "" if with_null and margin > task.null_threshold else answer for answer, margin in by_hand
    ]
    assert expected.count("") == (9 if with_null else 0)
    with torch.no_grad():
        assert [a for batch in batches for a in task.predict_step(batch, 0)] == expected
    run = trainer()
    run.test(task, loader_of(batches), verbose=False)
    gold = [answers for batch in batches for answers in batch["answers"]]
    for name, rule in (("f1", f1), ("exact_match", exact)):
        scores = [
            max(rule(answer, g) for g in answers or [""])
            for answer, answers in zip(expected, gold, strict=True)
        ]
        logged = run.callback_metrics[f"test_{name}/aa"].item()
        assert logged == pytest.approx(sum(scores) / len(scores), abs=1e-6)


def test_the_loss_is_that_of_transformers(base):
    """For every kind of encoder; windows whose answer is nowhere (-100) have none."""
    task = QuestionAnswering(base_model=base).eval()
    batch = next(window_batches())
    names = ["input_ids", "attention_mask", "start_positions", "end_positions"]
    if task.model.config.model_type in ("bert", "xlm-roberta"):
        names.append("token_type_ids")
    expected = task.model(**{name: batch[name] for name in names}).loss
    torch.testing.assert_close(task.training_loss(batch).mean, expected)
    batch["start_positions"][1:] = batch["end_positions"][1:] = -100
    logits = task(batch)[0]
    gold = batch["start_positions"][0], batch["end_positions"][0]
    expected = (cross_entropy(logits[:, 0], gold[0]) + cross_entropy(logits[:, 1], gold[1])) / 2
    torch.testing.assert_close(task.training_loss(batch).mean, expected)


def test_padding_changes_neither_loss_nor_answers(tmp_path):
    task = QuestionAnswering(base_model=save_base(tmp_path / "base")).eval()
    batch = next(window_batches())
    longer = dict(batch)
    for name, padding in (
        ("input_ids", 1),
        ("attention_mask", 0),
        ("token_type_ids", 0),
        ("char_starts", -1),
        ("char_ends", -1),
    ):
        longer[name] = torch.nn.functional.pad(batch[name], (0, 3), value=padding)
    with torch.no_grad():
        torch.testing.assert_close(task.training_loss(longer), task.training_loss(batch))
        assert task.predict_step(longer, 0) == task.predict_step(batch, 0)


def test_a_window_without_text_has_no_answer(tmp_path):
    """As of a text that the tokenizer leaves nothing of."""
    task = QuestionAnswering(base_model=save_base(tmp_path / "base")).eval()
    batch = next(window_batches())
    batch["char_starts"][2:] = batch["char_ends"][2:] = -1
    with torch.no_grad():
        answers = task.predict_step(batch, 0)
    assert answers[0] != ""
    assert answers[1:] == ["", ""]


def test_what_compose_makes_has_the_same_logits(base):
    language = fit(MaskedLM(base_model=base, learning_rate=1e-2), language_batches())
    language.save_pretrained("language")
    module = QuestionAnswering(base_model=base, base_sfts=["language"], learning_rate=1e-2)
    task = fit(module, window_batches())
    assert (task.metadata.task, task.metadata.labels) == ("qa", None)
    task.save_pretrained("task")
    sfts = {name: SparseFineTuning.from_pretrained(name) for name in ("language", "task")}
    compose(sfts, base).save_pretrained("composed")
    model = AutoModelForQuestionAnswering.from_pretrained("composed").eval()
    batch = next(window_batches())
    names = ["input_ids", "attention_mask"]
    if model.config.model_type in ("bert", "xlm-roberta"):
        names.append("token_type_ids")
    with torch.no_grad():
        output = model(**{name: batch[name] for name in names})
        expected = module.eval()(batch)
    logits = torch.stack([output.start_logits, output.end_logits], dim=-1)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
    if model.config.model_type == "bert":  # as the authors' files name it
        assert {"qa_outputs.weight", "qa_outputs.bias"} == set(task.whole)


def test_a_checkpoint_reloads_without_its_base(base, tmp_path):
    module = QuestionAnswering(base_model=base, null_threshold=0.5, learning_rate=1e-2)
    run = trainer(max_steps=3)
    run.fit(module, loader_of(window_batches()))
    run.save_checkpoint(tmp_path / "a.ckpt")
    shutil.rmtree(base)
    again = QuestionAnswering.load_from_checkpoint(tmp_path / "a.ckpt").eval()
    assert again.null_threshold == 0.5
    for name, value in values(module).items():
        assert torch.equal(values(again)[name], value)


def test_out_of_range(tmp_path):
    with pytest.raises(LtsftError, match="`model.init_args.max_answer_length` .* but got 0"):
        QuestionAnswering(base_model="unused", max_answer_length=0)


def built_in_scores(base, **settings):
    """Test scores: uneven shares of questions with several windows."""
    data = QuestionData(
        base,
        test={"elmu": Source("artificial:elmu", limit=13)},
        eval_batch_size=4,
        max_length=20,
        stride=4,
        max_question_length=8,
    )
    run = trainer(use_distributed_sampler=False, **settings)
    run.test(QuestionAnswering(base_model=base), data, verbose=False)
    return {name: value.item() for name, value in run.callback_metrics.items()}


def test_two_processes_score_as_one(tmp_path):
    """On either rank; sums in another order, hence 1e-6."""
    torch.manual_seed(0)
    base = save_artificial_base(tmp_path / "base")
    model = AutoModelForQuestionAnswering.from_pretrained(base)
    model.save_pretrained(base)  # one head for all
    run_ranks(2, "tests.tasks.score_in_ranks", base)
    one = built_in_scores(base)
    assert 0 < one["test_f1/elmu"] < 1
    for rank in range(2):
        assert json.loads(Path(f"scores{rank}.json").read_text()) == pytest.approx(one, rel=1e-6)


def test_windows_of_built_in_questions(tmp_path):
    """The data module's batches are what the task takes: answers are stretches of the texts."""
    base = save_artificial_base(tmp_path / "base")
    task = QuestionAnswering(base_model=base).eval()
    settings = {"max_length": 20, "stride": 4, "max_question_length": 8}
    data = QuestionData(base, predict={"elmu": Source("artificial:elmu", limit=9)}, **settings)
    (batches,) = [trainer().predict(task, data)]
    answers = [answer for batch in batches for answer in batch]
    for question, answer in zip(data.examples("predict", "elmu"), answers, strict=True):
        assert answer
        assert answer in question.context

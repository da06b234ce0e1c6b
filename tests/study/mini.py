"""A study of a few steps, and what is needed to watch one being killed."""

import json
import os
import time
from pathlib import Path

import lightning

FIT = {
    "sparse.budget.density": 0.1,
    "sparse.dense.max_steps": 2,
    "sparse.sparse.max_steps": 3,
    "model.init_args.learning_rate": 0.02,
    "trainer.enable_progress_bar": False,
    "trainer.enable_model_summary": False,
}

KEEPER = {"class_path": "ModelCheckpoint", "init_args": {"every_n_train_steps": 1}}

STUDY = {
    "source": "alora",
    "targets": ["elmu", "fanto"],
    "pretrain": {
        "languages": ["alora", "besku"],
        "num_sentences": 30,
        "max_steps": 3,
        "batch_size": 4,
        "hidden_size": 16,
        "num_layers": 1,
    },
    "text": {"path": "artificial:{language}", "limit": 30},
    "train": {"path": "artificial:{language}", "limit": 20},
    "validation": {"path": "artificial:{language}", "limit": 10},
    "test": {"path": "artificial:{language}", "limit": 20},
    "language_fit": {
        "options": FIT
        | {
            "model": "MaskedLM",
            "data": "TextData",
            "data.init_args.max_length": 12,
            "trainer.callbacks": [KEEPER, {"class_path": "tests.study.mini.Hold"}],
        }
    },
    "task_fit": {
        "options": FIT
        | {
            "model": "Tagger",
            "data": "TaggingData",
            "data.init_args.max_length": 64,
            "trainer.enable_checkpointing": False,
        }
    },
}


def write_config(name: str = "mini.yaml") -> str:
    """Write the study's config into the current folder; JSON is YAML."""
    Path(name).write_text(json.dumps(STUDY, indent=2))
    return name


class Hold(lightning.Callback):
    """Waits at the fourth step, before its checkpoint is written, as long as a file says so."""

    FILE, REPORT = "hold", "holding"

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 4 and Path(self.FILE).exists():
            Path(self.REPORT).write_text(str(os.getpid()))
            while Path(self.FILE).exists():
                time.sleep(0.05)


class Crash(lightning.Callback):
    """A bug."""

    def on_train_start(self, trainer, *_):
        raise RuntimeError("a bug")

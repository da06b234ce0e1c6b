"""Score questions in one of several processes: python -m tests.tasks.score_in_ranks BASE."""

import json
import os
import sys
from pathlib import Path

import torch

from tests.tasks.test_question_answering import built_in_scores

if __name__ == "__main__":
    torch.set_num_threads(1)
    scores = built_in_scores(sys.argv[1], strategy="ddp", devices=int(os.environ["WORLD_SIZE"]))
    Path(f"scores{os.environ['LOCAL_RANK']}.json").write_text(json.dumps(scores))

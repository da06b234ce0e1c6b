"""`ltsft.sparse` stands on torch and safetensors alone."""

import subprocess
import sys

FORBIDDEN = ("lightning", "transformers", "datasets", "torchmetrics", "jsonargparse")


def test_sparse_imports_neither_lightning_nor_transformers():
    code = (
        "import sys, ltsft.sparse, ltsft.sparse.file_format\n"
        f"print([name for name in {FORBIDDEN} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"

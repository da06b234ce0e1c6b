import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from ltsft.cli import main
from ltsft.study import workflow
from ltsft.study.job import run_job
from tests.study.mini import Hold, write_config

ROOT = Path(__file__).parents[2]


class Finished(NamedTuple):
    """A study that was killed and went on to its end.

    Args:
        folder: The folder it was called in.
        pretrained: When its base model was done, as told after the kill.
        left: Files in the folder of the run that was killed.
    """

    folder: Path
    pretrained: int
    left: set[str]


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory) -> Finished:
    """Run a study with Snakemake, kill it in its first language's sparse phase, run it again."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # So that jobs find the callback that holds them.
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("LTSFT_CACHE", str(folder / "cache"))
        command = [sys.executable, "-m", "ltsft.cli", "study", write_config()]
        Path(Hold.FILE).touch()
        killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        report = Path(Hold.REPORT)
        while not (report.is_file() and report.read_text()):
            assert killed.poll() is None, "it ended before it could be killed"
            time.sleep(0.05)
        os.killpg(killed.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):  # it was in the group
            os.kill(int(report.read_text()), signal.SIGKILL)
        killed.wait()
        Path(Hold.FILE).unlink()
        run = Path("runs/mini/languages/alora")
        left = {str(path.relative_to(run)) for path in run.rglob("*")}
        pretrained = Path("runs/mini/base/run.json").stat().st_mtime_ns
        assert main(["study", "mini.yaml"]) == 0
    return Finished(folder, pretrained, left)


@pytest.fixture
def finished(finished_study, monkeypatch) -> Finished:
    """The finished study, in whose folder the test runs; to be left as it is."""
    monkeypatch.chdir(finished_study.folder)
    return finished_study


@pytest.fixture
def copy(finished_study, tmp_path, monkeypatch) -> Path:
    """A copy of the finished study, in whose folder the test runs."""
    shutil.copytree(finished_study.folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def in_this_process(monkeypatch):
    """Run jobs one after the other in this process, up to the first that fails, as Snakemake does.

    What Snakemake itself does is tested once; importing everything anew for each job takes long.
    """

    def execute(snakefile: Path, output: Path, executor: str, jobs: int) -> None:
        for stage in workflow.STAGES:
            for job in sorted((output / "stages").glob(f"{stage}*.json")):
                if not job.with_suffix(".done").is_file() and run_job(str(job)):
                    return

    monkeypatch.setattr(workflow, "_execute", execute)

"""Snakemake, which decides what runs where; the one module that knows it.

Each stage is one job with one marker file, written when all its runs are done. What is done is
decided per run, by :attr:`~ltsft.study.plan.Run.is_done`: markers from the first stage on with a
run that is not done are removed, and a job skips the runs that are.
"""

import json
import logging
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ltsft.atomic import only_one, write_text
from ltsft.errors import LtsftError
from ltsft.study.plan import STAMP, Run

STAGES = {
    "pretrain": (),
    "languages": ("pretrain",),
    "task": ("languages",),
    "test": ("task",),
    "predict": ("task",),
    "table": ("test", "predict"),
}
"""Stage -> stages whose results it uses."""


def run_workflow(plan: list[Run], output: Path, *, jobs: int = 1, executor: str = "local") -> None:
    """Run what is not done of a plan.

    Args:
        plan: All runs of a study.
        output: Folder of all results; Snakemake's own files go there as well.
        jobs: Jobs at a time. The languages are divided among so many jobs.
        executor: Name of a Snakemake executor, ``local`` or that of an installed plugin, such as
            ``slurm``.

    Raises:
        LtsftError: If a run failed, or another study is running in the folder.
    """
    with only_one(output, "study", "`output`"):
        stages = _divide(plan, jobs)
        for name, runs in stages.items():
            _write_job(name, runs, plan, output)
        _remove_stale_markers(stages, output)
        snakefile = output / "Snakefile"
        write_text(snakefile, _snakefile(stages, _num_threads(jobs)))
        _execute(snakefile, output, executor, jobs)
    for failure in sorted((output / "stages").glob("*.failed")):
        about = json.loads(failure.read_text(encoding="utf-8"))
        raise LtsftError(f"{about['run']} failed: {about['last']} (log: {about['log']})")
    if unfinished := [f"{run.stage}: {run.name}" for run in plan if not run.is_done]:
        raise LtsftError(f"these runs are not done, see above why: {', '.join(unfinished)}")


def _divide(plan: list[Run], jobs: int) -> dict[str, list[Run]]:
    """Runs by job; the fits and tests of a stage over several, if allowed."""
    stages: dict[str, list[Run]] = {}
    for stage in STAGES:
        runs = [run for run in plan if run.stage == stage]
        parts = min(jobs, len(runs)) or 1
        for part in range(parts):
            if runs[part::parts]:
                name = f"{stage}-{part + 1}" if parts > 1 else stage
                stages[name] = runs[part::parts]
    return stages


def _write_job(name: str, runs: list[Run], plan: list[Run], output: Path) -> None:
    """Write what a job has to do, if that changed, and remove the marker if it is not done."""
    folder = output / "stages"
    job = {
        "folder": os.getcwd(),
        "marker": str(folder / f"{name}.done"),
        "failure": str(folder / f"{name}.failed"),
        "logs": str(output / "logs"),
        "stamps": [str(Path(run.folder, STAMP)) for run in plan],
        "runs": [run.to_json() for run in runs],
    }
    text = json.dumps(job, indent=2, ensure_ascii=False) + "\n"
    path = folder / f"{name}.json"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
    (folder / f"{name}.failed").unlink(missing_ok=True)


def _remove_stale_markers(stages: dict[str, list[Run]], output: Path) -> None:
    """Remove the markers from the first stage on that has a run which is not done.

    Those of later stages too, whether or not all their runs are done: Snakemake does not make again
    what a marker needs that is there itself.
    """
    stale = False
    for name, runs in stages.items():
        stale = stale or not all(run.is_done for run in runs)
        if stale:
            (output / "stages" / f"{name}.done").unlink(missing_ok=True)


def _snakefile(stages: dict[str, list[Run]], threads: int) -> str:
    """The workflow as a file that ``snakemake`` itself runs too; paths are relative to it."""
    # Not from the folder that it works in, where results lie (-P); Snakemake fills in braces.
    interpreter = shlex.quote(sys.executable).replace("{", "{{").replace("}", "}}")
    shell = f"{interpreter} -P -m ltsft.cli study --job {{input[0]:q}}"
    rules = ['rule all:\n    input: "stages/table.done"\n']
    for name in stages:
        stage = name.partition("-")[0]
        before = [
            f'"stages/{other}.done"' for other in stages if other.partition("-")[0] in STAGES[stage]
        ]
        inputs = ", ".join([f'"stages/{name}.json"', *before])
        rules.append(
            f"rule {name.replace('-', '_')}:\n"
            f"    input: {inputs}\n"
            f'    output: "stages/{name}.done"\n'
            f"    threads: {threads}\n"
            f"    shell: {shell!r}\n"
        )
    return "\n".join(rules)


def _execute(snakefile: Path, output: Path, executor: str, jobs: int) -> None:
    from snakemake.api import SnakemakeApi
    from snakemake.settings.enums import Quietness, RerunTrigger
    from snakemake.settings.types import (
        DAGSettings,
        ExecutionSettings,
        OutputSettings,
        ResourceSettings,
    )
    from snakemake_interface_common.exceptions import (
        ApiError,
        InvalidPluginException,
        WorkflowError,
    )

    output = output.resolve()  # Snakemake works in that folder, so relative paths lead elsewhere
    quiet = OutputSettings(quiet={Quietness.ALL}, enable_file_logging=False)
    logging.getLogger("snakemake").setLevel(logging.CRITICAL)
    with SnakemakeApi(quiet) as api:
        workflow = api.workflow(
            snakefile=snakefile.resolve(),
            workdir=output,
            resource_settings=ResourceSettings(cores=_num_threads(jobs) * jobs, nodes=jobs),
        )
        dag = workflow.dag(
            DAGSettings(
                force_incomplete=True,  # a killed run goes on
                rerun_triggers=frozenset({RerunTrigger.MTIME}),
            )
        )
        try:
            # Our own lock is released when a process dies; Snakemake's would have to be unlocked.
            with _interruptible():
                dag.execute_workflow(executor, execution_settings=ExecutionSettings(lock=False))
        except InvalidPluginException as error:
            raise LtsftError(
                "`--executor` is expected to be `local` or the name of an installed Snakemake "
                f"executor plugin, but got {executor!r}: {error}"
            ) from error
        except (ApiError, WorkflowError) as error:
            if not any((output / "stages").glob("*.failed")):
                raise LtsftError(
                    "a job is expected to say why it ends, but one could not be started or was "
                    f"killed (too little memory?); Snakemake says: {error}"
                ) from error


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C be one: Snakemake ends its jobs then, and says that a job failed.

    Raises:
        KeyboardInterrupt: If it was pressed in the block, whatever that raises.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = []

    def note(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception as error:
        if not pressed:
            raise
        raise KeyboardInterrupt from error
    finally:
        signal.signal(signal.SIGINT, before)


def _num_threads(jobs: int) -> int:
    """Threads of each job; Snakemake sets OMP_NUM_THREADS to it, so what the user set is kept."""
    by_user = os.environ.get("OMP_NUM_THREADS", "")
    return int(by_user) if by_user.isdigit() else max(1, len(os.sched_getaffinity(0)) // jobs)

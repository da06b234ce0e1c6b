"""The runs of one stage, one after the other in one process.

Importing torch, Lightning and transformers takes longer than many a small run, so it is done once
for all of them, and only if there is anything left to run.
"""

import contextlib
import json
import os
import shutil
import sys
import time
import traceback
from pathlib import Path

from ltsft.atomic import write_text
from ltsft.errors import LtsftError
from ltsft.study.plan import STAMP, Run, key_in
from ltsft.study.progress import StudyProgress
from ltsft.terminal.dispatch import USER_ERROR, one_line
from ltsft.terminal.dispatch import main as ltsft

STARTED = "started.json"
"""In a run's folder while it runs, and after it was interrupted: what was started."""

_NUM_LAST_LINES = 12


def run_job(path: str) -> int:
    """Run what is not done yet; write the stage's marker.

    Args:
        path: A file that :mod:`ltsft.study.workflow` wrote.

    Returns:
        Exit status: that of the run that failed, or 0.
    """
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    os.chdir(job["folder"])
    # Threads that wait by spinning stand in each other's way where there are more than cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    failure = Path(job["failure"])
    failure.unlink(missing_ok=True)
    runs = [Run(**run) for run in job["runs"]]
    progress = StudyProgress(job["stamps"])
    for run in runs:
        if run.is_done:
            continue
        log = Path(job["logs"], f"{run.stage}-{run.name}.log")
        label = f"{run.stage}: {run.name}"
        begin = time.monotonic()
        with progress.watch(label, log):
            status = _run(run, log)
        seconds = round(time.monotonic() - begin)
        if status:
            lines = log.read_text(encoding="utf-8").splitlines()
            last = lines[-1] if lines else "it said nothing"
            if status != USER_ERROR:  # a user's mistake is one line, a crash needs more
                print("\n".join(lines[-_NUM_LAST_LINES:]), file=sys.stderr)
            write_text(failure, json.dumps({"run": label, "log": str(log), "last": last}))
            return status
        clear = "\033[K" if sys.stdout.isatty() else ""
        took = f"{seconds // 60}:{seconds % 60:02d}"
        print(f"{label} done in {took} ({progress}){clear}", flush=True)
    write_text(Path(job["marker"]), json.dumps([run.key for run in runs]) + "\n")
    return 0


def _run(run: Run, log: Path) -> int:
    """Run one command in this process, all it says into the log file."""
    folder = Path(run.folder)
    folder.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [*run.command, *_resume(run, folder)]
    write_text(folder / STARTED, json.dumps({"key": run.key}))
    begin = time.time()
    with (
        log.open("w", encoding="utf-8", buffering=1) as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        print(f"$ {run.command_line}", flush=True)
        try:
            status = _call(command)
        except LtsftError as error:
            print(one_line(error))
            status = USER_ERROR
        except Exception:
            traceback.print_exc()
            status = 1
    if status == 0 and run.result != STAMP and not Path(folder, run.result).exists():
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{folder / run.result} is expected to be there now, but is not.\n")
        status = 1
    if status == 0:
        stamp = {"key": run.key, "command": run.command_line, "seconds": time.time() - begin}
        (folder / STARTED).unlink(missing_ok=True)
        write_text(folder / STAMP, json.dumps(stamp, indent=2) + "\n")
    return status


def _call(command: list[str]) -> int:
    if command[0] == "ltsft":
        return ltsft(command[1:])
    module = command[2]  # python -m MODULE …
    if module == "ltsft.study.pretrain":
        from ltsft.study.pretrain import main
    else:
        from ltsft.study.table import main
    return main(command[3:])


def _resume(run: Run, folder: Path) -> list[str]:
    """Go on from the newest checkpoint of the same run, or clear what another one left."""
    started, stamp = folder / STARTED, folder / STAMP
    same = key_in(started) == run.key
    if same and run.command[:2] == ["ltsft", "fit"]:
        from ltsft.terminal.going_on import newest_checkpoint

        with contextlib.suppress(LtsftError):  # none that can be read: begin anew
            return ["--ckpt_path", newest_checkpoint([folder / "checkpoints"])]
    if started.is_file() or stamp.is_file():  # ours to clear
        stamp.unlink(missing_ok=True)
        Path(folder, run.result).unlink(missing_ok=True)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return []

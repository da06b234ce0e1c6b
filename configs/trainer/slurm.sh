#!/usr/bin/env bash
# sbatch configs/trainer/slurm.sh OPTIONS OF THE FIT…
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=4
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --signal=SIGUSR1@120
#SBATCH --open-mode=append
set -euo pipefail
# A task for each GPU; one that fails takes the others with it.
exec srun --kill-on-bad-exit=1 ltsft fit "$@" --config ltsft:trainer/slurm

#!/bin/sh
#SBATCH --job-name=ctsm
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
# Run one ctsm command on the GPUs of several Slurm nodes, one process for each GPU (MACHINES.md).
# Submit it from the project folder:
#   sbatch scripts/slurm.sh train --preset improved --out runs/improved
#   sbatch --nodes 1 --gpus-per-node 2 scripts/slurm.sh train --out runs/improved --resume
# Two minutes before the time limit, training stops with a checkpoint (the SIGTERM above).
set -eu
: "${PYTHON:=.venv/bin/python}" "${PORT:=29500}"
each=${SLURM_GPUS_PER_NODE:-1} # "4", or "a100:4"
each=${each##*:}
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
OMP_NUM_THREADS=$(((SLURM_CPUS_PER_TASK + each - 1) / each))
export OMP_NUM_THREADS
# One launcher on each node starts the processes of that node.
exec srun --cpus-per-task "$SLURM_CPUS_PER_TASK" \
    "$PYTHON" -m torch.distributed.run --nnodes "$SLURM_NNODES" --nproc-per-node "$each" \
    --rdzv-backend c10d --rdzv-endpoint "$first:$PORT" --rdzv-id "$SLURM_JOB_ID" -m ctsm_lib "$@"

#!/bin/bash
#SBATCH --job-name=w2v-nightly
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --gres=gpu:1
#SBATCH --time=04:00:00
#SBATCH --output=w2v-%j.log
# A night on one card of a Slurm cluster; how the site names its cards (--gres) may differ.
#   sbatch docs/deploy/slurm.sh RELEASE [further options of pytest]
set -eu
: "${1:?usage: sbatch slurm.sh RELEASE [options of pytest]}"
cd "${SLURM_SUBMIT_DIR:-.}"

# The card that Slurm gave, by its module id, which is not hl-smi's index.
if [ -n "${SLURM_JOB_GPUS:-}" ] && [ -z "${HABANA_VISIBLE_MODULES:-}" ]; then
    module=$(hl-smi -Q index,module_id -f csv,noheader |
        awk -F', *' -v card="$SLURM_JOB_GPUS" '$1 == card { print $2 }')
    [ -n "$module" ] || { echo "hl-smi does not list card $SLURM_JOB_GPUS" >&2; exit 3; }
    export HABANA_VISIBLE_MODULES="$module"
fi

exec srun sh docs/deploy/nightly.sh "$@"

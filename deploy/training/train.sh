#!/bin/sh
# One Job's training of one model, begun or gone on with: its arguments are those of training.run.
#
# RUNS is a folder of this Job alone, so a run that lies there is the one that an earlier pod began, and nothing is guessed.
# PROCESSES: how many share every batch, on one machine.
set -eu

for config in "$RUNS"/*/config.json; do
    if [ -f "$config" ]; then
        run=${config%/config.json}
        # torchrun makes 1 of every exit code. A model that was kept back is there to see, and no better the second time.
        if ls "$run"/model/*/*/manifest.json >/dev/null 2>&1; then
            echo "trained, and not better than the version that serves: $run/model" >&2
            exit 3
        fi
        set -- --resume "$run"
        break
    fi
done
[ "${1-}" = "--resume" ] || set -- "$@" --runs "$RUNS"

if [ "$PROCESSES" -gt 1 ]; then
    exec torchrun --standalone --nproc-per-node "$PROCESSES" -m training.run "$@"
fi
exec python -m training.run "$@"

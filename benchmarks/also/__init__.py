"""What is measured beside the table, each with its curve: `python -m benchmarks --also=…`.

Each is a function `(flags, tell) -> what results.json holds of it`. It prints its lines by `tell` as it goes.
"""

from benchmarks.also import curves, parallel, resident, start

ALSO = {
    "start": start.measure,
    "resident": resident.measure,
    "steps_per_loop": curves.steps_per_loop,
    "batch": curves.batch,
    "depth": curves.depth,
    "length": curves.length,
    "replicas": parallel.replicas,
    "workers": parallel.workers,
}

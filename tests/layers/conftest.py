"""A step context without an engine, and replicas without devices."""

import contextlib

import pytest
import tensorflow as tf

WHOLE_BATCH = 64


class StepContext:
    """Rows `start:` of whole-batch draws, one more draw at every call."""

    def __init__(self, seed=0, start=0, valid_rows=None, replicas=1, totals=(), stops=None):
        self.seed, self.start, self.replicas = seed, start, replicas
        self.valid_rows = None if valid_rows is None else tf.constant(valid_rows, tf.int32)
        self.draws, self.sums, self.totals, self.stops = 0, 0, totals, stops

    def uniform(self, shape):
        rows, *rest = shape
        self.draws += 1
        whole = tf.random.stateless_uniform([WHOLE_BATCH, *rest], [self.seed, self.draws])
        return whole[self.start : self.start + rows]

    def all_reduce(self, tensor):
        if self.stops is None:
            return tensor
        self.sums += 1
        if self.sums <= len(self.totals):
            return self.totals[self.sums - 1]
        self.stops.append(tensor)
        raise Pause


class Pause(Exception):
    """A replica has come to a sum that needs the others."""


def lockstep(replicas, run):
    """`[run(replica, all_reduce's context arguments) for each replica]`, meeting at every all_reduce.

    Each round runs all replicas up to the first sum that is still unknown, then adds it up.
    """
    totals = []
    while True:
        stops, results = [], []
        for replica in range(replicas):
            with contextlib.suppress(Pause):
                results.append(run(replica, {"replicas": replicas, "totals": totals, "stops": stops}))
        if not stops:
            return results
        assert len(stops) == replicas
        totals.append(tf.add_n(stops))


@pytest.fixture(scope="session")
def step_context():
    return StepContext


@pytest.fixture(scope="session")
def in_lockstep():
    return lockstep

"""The laws that need a whole module (replicas, freezing, saving): each holds, and is broken by a violation of it."""

import functools
import types

import pytest
import tensorflow as tf
from law_parts import Follows, Scaled, features, images, network

import layers
from engine.testing import laws

# Replicas


class MeanOfMeans(Scaled):
    """Centred by the mean over replicas of their slices' means."""

    def harm(self, y, training):
        if not training:
            return y
        return y - training.all_reduce(tf.reduce_mean(y, 0)) / training.replicas


class SumOverExamples(Scaled):
    """Centred by the mean over all valid rows."""

    def harm(self, y, training):
        rows = tf.shape(y)[0] if training.valid_rows is None else training.valid_rows
        valid = tf.cast(tf.range(tf.shape(y)[0]) < rows, y.dtype)[:, None]
        total = training.all_reduce(tf.concat([tf.reduce_sum(y * valid, 0), [tf.cast(rows, y.dtype)]], 0))
        return y - total[:-1] / total[-1]


@pytest.mark.parametrize("examples", [5, 2], ids=["uneven", "empty"])
def test_a_network_is_the_same_on_one_and_on_uneven_replicas(examples):
    laws.replicas_are_one(network, images(examples), (3,))
    laws.replicas_are_one(SumOverExamples, features(examples), (3,))


def test_a_mean_over_replicas_is_found():
    with pytest.raises(laws.LawError, match="on 2 replicas") as caught:
        laws.replicas_are_one(MeanOfMeans, features())
    assert caught.value.name == "outputs"
    with pytest.raises(laws.LawError, match="on 2 replicas"):
        laws.replicas_are_one(functools.partial(layers.BatchNorm, 3, sync=False), features())


def test_replicas_must_be_uneven():
    with pytest.raises(ValueError, match="does not divide the 4 rows"):
        laws.replicas_are_one(Scaled, features(4), (2, 4))


def test_missing_logical_devices_are_said():
    with pytest.raises(RuntimeError, match=r"needs 5 logical devices, this process has 4.*\] \* 5"):
        laws.replicas_are_one(Scaled, features(6), (5,))


# Frozen


class Stubborn(Scaled):
    """Cannot be frozen."""

    @property
    def trainable(self):
        return True

    @trainable.setter
    def trainable(self, value):
        pass


loose = tf.Variable([1.0, 2.0, 3.0], name="gain")


class Outside(Scaled):
    """Reads a variable that is not its own."""

    def harm(self, y, training):
        return y * loose


class Greedy(layers.Layer):
    """Freezing the one part freezes the other."""

    def __init__(self):
        super().__init__()
        self.other = Scaled()
        self.part = self.Part()
        # Not a list: that would put the other below the part.
        self.part.freezes = types.SimpleNamespace(other=self.other)

    class Part(Scaled):
        @property
        def trainable(self):
            return self._trainable

        @trainable.setter
        def trainable(self, value):
            self._trainable = self.freezes.other.trainable = value

    def __call__(self, x):
        return self.part(self.other(x))


def test_a_frozen_network_has_no_gradient_and_thaws():
    made = network()
    made.layers[0].trainable = False
    laws.frozen_has_no_gradient(made, images())
    assert [layer.trainable for layer in made.layers if isinstance(layer, layers.Layer)][:2] == [False, True]


@pytest.mark.parametrize(
    ("layer", "text", "name"),
    [
        (Stubborn(), "gain is still trained", "gain"),
        (layers.Sequential([Scaled(), Stubborn()]), r"layers.1.gain is still trained", "layers.1.gain"),
        (Follows(), "still moves variable mean", "mean"),
        (Outside(), r"gain \[3\] that is not below it", "gain"),
        (Greedy(), r"other.gain is not trained either", "other.gain"),
    ],
    ids=["stubborn", "part", "follows", "outside", "greedy"],
)
def test_what_ignores_freezing_is_found(layer, text, name):
    with pytest.raises(laws.LawError, match=text) as caught:
        laws.frozen_has_no_gradient(layer, features())
    assert caught.value.name == name


# Saved


class Remembers(Scaled):
    """Counts its calls in a Python attribute, and computes with the count."""

    calls = 0

    def harm(self, y, training):
        if training:
            self.calls += 1
        return y + self.calls


class Hides(Scaled):
    """Keeps a variable where no path leads."""

    def __init__(self, features=3):
        super().__init__(features)
        hidden = tf.Variable(0.0, trainable=False)
        self.hidden = lambda: hidden

    def harm(self, y, training):
        if training:
            self.hidden().assign_add(1.0)
        return y + self.hidden()


class Renamed(Scaled):
    """Another path for its variable in every module that is made."""

    made = 0

    def __init__(self):
        tf.Module.__init__(self)
        Renamed.made += 1
        self.gains = {f"gain{Renamed.made}": tf.Variable(tf.ones([3]))}

    @property
    def gain(self):
        return next(iter(self.gains.values()))


def test_a_saved_network_goes_on_as_it_was(tmp_path):
    laws.saving_changes_nothing(network, images(), tmp_path / "saved")


@pytest.mark.parametrize(
    ("factory", "text"),
    [
        (Remembers, "outputs at .* as it was loaded"),
        (Hides, "outputs at .* as it was loaded"),
        (Renamed, "cannot load"),
    ],
)
def test_what_saving_loses_is_found(factory, text, tmp_path):
    with pytest.raises(laws.LawError, match=text):
        laws.saving_changes_nothing(factory, features(), tmp_path)


def test_saving_needs_a_folder_of_its_own(tmp_path):
    (tmp_path / "something").touch()
    with pytest.raises(ValueError, match="is not empty"):
        laws.saving_changes_nothing(Scaled, features(), tmp_path)

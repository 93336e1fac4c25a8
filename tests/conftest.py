"""Every test process uses few threads and no accelerator, so that two can share two cores."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hypothesis
import pytest
import tensorflow as tf
from absl import flags

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(2)
# Replicas on one processor: laws about how a batch is cut hold there as on four accelerators.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
)

# The first example of a law often traces a function: a deadline would measure the tracer.
hypothesis.settings.register_profile("tapeline", deadline=None, max_examples=25, derandomize=True)
hypothesis.settings.load_profile("tapeline")


def pytest_addoption(parser):
    parser.addoption("--soak", action="store_true", help="also run the long soaks")
    parser.addoption("--kills", type=int, default=8, help="how often tests/faults kills runs that must not notice")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--soak"):
        for item in items:
            if "soak" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="a soak: run it with --soak"))


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    """The command line in this process: arguments -> (exit code, standard output, standard error)."""
    # Its flags are those of one program; other tests need none.
    import train

    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        for name in flags.FLAGS:
            flags.FLAGS[name].unparse()
        flags.FLAGS.unparse_flags()
        try:
            rest = flags.FLAGS(["train.py", *arguments])
            with pytest.raises(SystemExit) as exit:
                train.main(rest)
            code, message = exit.value.code, capsys.readouterr()
        except flags.Error as error:
            code, message = 1, (str(error), str(error))
        return code, *message

    return command

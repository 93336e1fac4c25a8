"""The schedules and averages that flags put together."""

import pytest
from absl import flags

from cli import rules


def parse(*arguments):
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["train.py", "--boundaries=4,8", "--learning_rate=0.5", *arguments])


@pytest.mark.parametrize("name", rules.SCHEDULES)
def test_every_schedule_of_the_flags_warms_up_to_the_learning_rate_and_does_not_pass_it(name):
    parse(f"--schedule={name}", "--warmup_steps=5", f"--end_rate={0.2 if name == 'cyclic' else 0.0}")
    schedule = rules.make_schedule(20)
    values = [float(schedule(step)) for step in range(60)]
    peak = {"one_cycle": 5 + 9, "cyclic": 5 + 10, "inverse_sqrt": 4}.get(name, 5)
    assert values[peak] == max(values) == 0.5
    if name not in ("cyclic", "one_cycle"):
        assert values[:5] == pytest.approx([0.1 * (step + (name == "inverse_sqrt")) for step in range(5)], rel=1e-14)
        assert (values[-1] == 0.5) == (name == "constant")


def test_warmup_stable_steps_and_a_plateau_are_put_together():
    parse("--schedule=polynomial", "--warmup_steps=5", "--stable_steps=10", "--end_rate=0.2", "--reduce_on_plateau")
    schedule = rules.make_schedule(20)
    expected = [0.0, 0.3, *[0.5] * 3, 0.3, *[0.1] * 2]
    assert [float(schedule(s)) for s in (0, 3, 5, 9, 15, 25, 35, 99)] == pytest.approx(expected, rel=1e-14)
    schedule.factor.assign(0.5)
    assert float(schedule(9)) == 0.25


@pytest.mark.parametrize("name", rules.AVERAGES)
def test_every_average_of_the_flags_is_what_it_says(name):
    parse(f"--average={name}", *{"swa": ["--average_every=4", "--average_start=9"]}.get(name, []))
    average = rules.make_average(rules.make_optimizer(0.1, []))
    assert type(average).__name__.lower() == name
    if name != "ema":
        assert (average.start, average.every) == {"swa": (9, 4), "polyak": (0, 1)}[name]

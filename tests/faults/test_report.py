"""The tables of docs/reliability.md hold what was counted, and say when something was lost."""

from tests.faults import kills, report
from tests.faults.faults import FAULTS
from tests.faults.peer import Peer
from tests.faults.processes import activity

PAGE = """before
<!-- faults -->
| fault | injected | lost | how it shows |
| --- | --- | --- | --- |
| SIGKILL, evaluating | 7 | nothing | it goes on |
| the disk is full | 2 | nothing | exit 2 |
<!-- end of faults -->
after
"""


def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_what_is_counted_anew_takes_its_place_and_the_rest_stays(tmp_path):
    path = page(tmp_path)
    report.update(
        path, "faults", report.FAULTS, [["the disk is full", 3, "nothing", "exit 3"], ["SIGTERM", 1, "a", "b"]]
    )
    lines = path.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert lines[4:-2] == [
        "| SIGKILL, evaluating | 7 | nothing | it goes on |",
        "| the disk is full | 3 | nothing | exit 3 |",
        "| SIGTERM | 1 | a | b |",
    ]


def test_kills_are_counted_anew_together(tmp_path):
    path = page(tmp_path)
    tally = kills.Tally([("a", kills.Kill("in the loop", 3, 1)), ("a", kills.Kill("in the loop", 5, 0))], 1)
    report.update(path, "faults", report.FAULTS, report.kill_rows(tally))
    rows = report.rows_of("\n".join(path.read_text().splitlines()[2:-2]))
    assert [row[:3] for row in rows] == [["SIGKILL, in the loop", "2", "nothing"], ["the disk is full", "2", "nothing"]]


def test_what_was_lost_is_told():
    tally = kills.Tally([("a", kills.Kill("in the loop", 3, 1))], 1, {"run": ["history.jsonl differs"]})
    assert report.kill_rows(tally)[0][2] == "history.jsonl differs"
    row = report.peer_row("other", Peer(3, 1, repeated=39, forgotten=2, ended=[360], alone=240, equal=0))
    assert row == ["other", 1, 3, 39, 2, "1 (step 360 instead of 240)", 1]


def test_the_page_tells_of_real_faults_and_of_no_loss():
    text = report.PAGE.read_text()
    rows = report.rows_of(text.partition("<!-- faults -->\n")[2].partition("\n<!-- end")[0])
    known = {fault.name for fault in FAULTS}
    assert [row[0] for row in rows if row[0] not in known and not row[0].startswith("SIGKILL, ")] == []
    assert {row[2] for row in rows} == {"nothing"}
    assert all(int(row[1]) > 0 for row in rows)


def test_what_a_process_does_is_read_from_its_stacks():
    fit = '  File "/house/engine/trainer.py", line 1 in fit\n'
    assert activity('  File "/house/train.py", line 1 in train_in\n') == "starting up"
    assert activity('  File "/house/engine/trainer.py", line 1 in _begin\n' + fit) == "restoring"
    assert activity('  File "/house/engine/trainer.py", line 1 in _run\n' + fit) == "in the loop"
    inner = '  File "/house/engine/trainer.py", line 1 in _evaluate\n'
    assert activity(inner + fit.replace("fit", "_boundary") + fit) == "evaluating"
    assert activity(inner) == "after the last step"


def two_runs(tmp_path):
    for name in ("one", "other"):
        folder = tmp_path / name / "checkpoints" / "step-00000002"
        folder.mkdir(parents=True)
        (folder / "variables.index").write_bytes(b"state")
        (tmp_path / name / "history.jsonl").write_text('{"split": "train", "step": 1}\n{"split": "train", "step": 2}\n')
        (tmp_path / name / "result.json").write_text('{"steps": 2, "weights_sha256": "a"}')
    return tmp_path / "one", tmp_path / "other"


def test_a_difference_of_any_kind_is_a_difference(tmp_path):
    one, other = two_runs(tmp_path)
    assert kills.differences(one, other) == []
    (other / "checkpoints/step-00000002/variables.index").write_bytes(b"State")
    assert kills.differences(one, other) == ["the newest checkpoint holds another state"]
    (other / "result.json").write_text('{"steps": 3, "weights_sha256": "b"}')
    found = kills.differences(one, other)
    assert "weights_sha256: a undisturbed, b killed" in found
    assert "steps lost: [3]" in found
    (other / "history.jsonl").write_text('{"split": "train", "step": 1}\n' * 2)
    found = kills.differences(one, other)
    assert {"history.jsonl differs", "steps twice: [1]", "steps lost: [2, 3]"} <= set(found)

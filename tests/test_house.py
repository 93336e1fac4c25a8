"""The plan of the house: who may know whom, and that Keras is not inside."""

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("engine", "layers", "optim", "data")
CODE = (*PACKAGES, "cli")
FILES = [*(file for package in CODE for file in sorted((ROOT / package).rglob("*.py"))), ROOT / "train.py"]
KERAS_IN_DISGUISE = ("keras", "optimizers", "losses", "metrics", "initializers", "python")


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def dotted(node):
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else []


def keras_in(source):
    """Every spelling of Keras in a source: imports, and attributes of TensorFlow that are Keras."""
    tree = ast.parse(source)
    for name in imported(tree):
        parts = name.split(".")
        if parts[0] in ("keras", "tf_keras") or (parts[0] == "tensorflow" and set(parts) & set(KERAS_IN_DISGUISE)):
            yield name
    for node in ast.walk(tree):
        parts = dotted(node)
        if len(parts) > 1 and parts[0] in ("tf", "tensorflow"):
            inner = parts[3:] if parts[1:3] == ["compat", "v1"] else parts[1:]
            if inner and inner[0] in KERAS_IN_DISGUISE:
                yield ".".join(parts)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_keras_inside(file):
    assert list(keras_in(file.read_text())) == []


@pytest.mark.parametrize(
    "line",
    [
        "import keras",
        "from keras.layers import Dense",
        "from tensorflow import keras",
        "import tensorflow.keras as k",
        "from tensorflow.python.keras import backend",
        "tf.keras.Model()",
        "tf.compat.v1.keras.Model()",
        "tf.optimizers.Adam()",
        "tf.losses.mse(a, b)",
        "tf.metrics.Mean()",
        "tf.initializers.Zeros()",
        "import tf_keras",
    ],
)
def test_the_search_for_keras_finds_it(line):
    assert list(keras_in(line))


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_know_nothing_of_each_other(package):
    others = {*PACKAGES, "cli", "train"} - {package}
    for file in (ROOT / package).rglob("*.py"):
        names = {name.split(".")[0] for name in imported(ast.parse(file.read_text()))}
        assert not names & others, file


def test_nothing_inside_runs_what_it_reads():
    for file in FILES:
        calls = [dotted(n.func) for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)]
        assert not [c for c in calls if c[-1:] in (["eval"], ["exec"]) or c[:1] == ["pickle"]], file


def test_every_hook_is_made_by_some_test_or_by_the_command_line():
    makers = [*(ROOT / "cli").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    used = {name for file in makers for name in re.findall(r"hooks\.(\w+)\(", file.read_text())}
    exported = set(re.findall(r'^    "(\w+)",$', (ROOT / "engine/hooks/__init__.py").read_text(), re.MULTILINE))
    assert len(exported) > 5
    assert exported - used <= {"Hook"}


def test_every_flagfile_parses_and_says_only_what_train_knows():
    import train

    for config in sorted((ROOT / "configs").glob("*.cfg")):
        known = set(train.FLAGS)
        for line in config.read_text().splitlines():
            if line and not line.startswith("#"):
                name = line.removeprefix("--").partition("=")[0]
                assert name in known or name.removeprefix("no") in known, f"{config}: {line}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    # Built from a copy of what git would clone, so that nothing else in the folder can get in.
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([*build, str(folder), str(folder / "source")], check=True)
    return next(folder.glob("tapeline-*.whl"))


def test_an_installed_wheel_works_from_another_directory(wheel, tmp_path):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        "import data, engine, layers, optim, train, pathlib; "
        "assert all(str(pathlib.Path(m.__file__)).startswith(r'%s') for m in (data, engine, layers, optim, train)); "
        "print(len(data.load('fashion_mnist_mini')), len(data.load('fashion_mnist_mini', split='test')))"
    )
    command = [sys.executable, "-c", code % site]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["6000", "2000"], done.stderr
    tops = {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {*CODE, "train.py"}
    assert any("LICENSE" in p.name.upper() or "README" in p.name for p in (site / "data" / "embedded").iterdir())

"""Transfer learning from the command line: pretrained, frozen, cached, thawed; and what a person may get wrong."""

import json

import numpy as np
import pytest
import tensorflow as tf

import engine
from layers import nets

RUN = ["--dataset=image_folder", "--image_size=16,16", "--model=resnet20", "--freeze=backbone", "--batch_size=8"]
RUN += ["--epochs=3", "--optimizer=adam", "--steps_per_loop=2", "--notensorboard"]
THAW = ["--unfreeze_from=stage4", "--unfreeze_epoch=1", "--unfreeze_rate=0.5"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Dark and light pictures, of several sizes."""
    root, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for name, light in (("dark", 60), ("light", 190)):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                values = random.normal(light, 40, [18 + number % 3, 20, 3]).clip(0, 255).astype(np.uint8)
                (root / split / name / f"{number}.png").write_bytes(tf.io.encode_png(values).numpy())
    return root


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """The same network with another head, as it was saved."""
    tf.random.set_seed(5)
    model = nets.cifar_resnet((16, 16, 3), 7)
    for path, variable in engine.variable_paths(model).items():
        if path.endswith("moving_variance"):
            variable.assign(variable * 3)
    return engine.save_model(nets.Classifier(model.backbone, model.head), tmp_path_factory.mktemp("saved") / "model.h5")


def weights(run):
    reader = tf.train.load_checkpoint(str(run / "checkpoints" / "model" / "variables"))
    return {name.removeprefix("model."): reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def test_features_computed_once_teach_the_same_and_what_is_thawed_moves(pictures, pretrained, command, tmp_path):
    given = [*RUN, *THAW, f"--data_dir={pictures}", f"--pretrained={pretrained}", "--validation_fraction=0.25"]
    said = {}
    for flag in ("cache_features", "nocache_features"):
        watched = ["--tensorboard"] if flag == "cache_features" else []
        code, said[flag], error = command(*given, f"--{flag}", f"--run_dir={tmp_path / flag}", *watched)
        assert code == 0, error
    assert "18 pictures through the frozen backbone once" in said["cache_features"]
    assert "through the frozen backbone" not in said["nocache_features"]
    cached, plain = weights(tmp_path / "cache_features"), weights(tmp_path / "nocache_features")
    for name, value in plain.items():
        np.testing.assert_allclose(cached[name], value, rtol=2e-3, atol=2e-3, err_msg=name)
    before = engine.variable_paths(engine.load_model(pretrained))
    same = {name: np.array_equal(cached[name], value) for name, value in before.items() if "backbone" in name}
    assert all(is_same for name, is_same in same.items() if not name.startswith("backbone.stage4"))
    assert not any(is_same for name, is_same in same.items() if name.startswith("backbone.stage4"))
    lines = map(json.loads, (tmp_path / "cache_features" / "history.jsonl").read_text().splitlines())
    assert {line.get("learning_rate", 0.001) for line in lines} == {0.001}


def test_frozen_for_good_only_the_head_moves_and_it_resumes(pictures, pretrained, command, tmp_path):
    given = [*RUN, f"--data_dir={pictures}", f"--pretrained={pretrained}"]
    assert "24 pictures" in command(*given, f"--run_dir={tmp_path / 'a'}")[1]
    command(*given, f"--run_dir={tmp_path / 'b'}", "--max_steps=4")
    command(*given, f"--run_dir={tmp_path / 'b'}")
    first, second = (json.loads((tmp_path / name / "result.json").read_text()) for name in "ab")
    assert first["weights_sha256"] == second["weights_sha256"]
    assert second["resumed_from"] == 4
    after, before = weights(tmp_path / "a"), engine.variable_paths(engine.load_model(pretrained))
    assert all(np.array_equal(after[name], v) for name, v in before.items() if name.startswith("backbone"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--freeze=body"], "--freeze=body: the network has no such part; it has backbone, dropout, head"),
        (["--freeze=backbone", "--unfreeze_from=stage9", "--unfreeze_epoch=1"], "it has stem, stage2, stage3, stage4"),
        (["--freeze=backbone", "--unfreeze_from=stage4"], "--unfreeze_from needs --unfreeze_epoch"),
        (["--unfreeze_epoch=2"], "--unfreeze_epoch needs --unfreeze_from"),
        (["--cache_features"], "--cache_features needs --freeze=backbone"),
        (["--freeze=backbone", "--cache_features", "--augment=flip_left_right"], "no --augment"),
        (["--freeze=backbone,head"], "nothing to train"),
        (["--pretrained=nowhere"], "nowhere"),
        (["--model=resnet50", "--pretrained=imagenet"], "tf_kernels_notop.h5 is not in the cache; --download fetches"),
        (["--pretrained=imagenet"], "--pretrained=imagenet is for --model=resnet50; for others give a file"),
        (["--pretrained=README.md"], "no file of a model, or a damaged one"),
        (["--model=convnet", "--pretrained=README.md"], "--pretrained needs a --model with a backbone"),
    ],
)
def test_what_a_person_may_get_wrong(flags, said, command, request, monkeypatch, tmp_path):
    monkeypatch.setenv("TAPELINE_CACHE", str(tmp_path / "cache"))
    readme = request.config.rootpath / "README.md"
    code, _, error = command("--model=resnet20", "--max_steps=1", *[f.replace("README.md", str(readme)) for f in flags])
    assert code == 2
    assert said in error
    assert error.count("\n") == 1


def test_a_file_of_another_network_names_what_differs_first(pictures, pretrained, command):
    given = ["--dataset=image_folder", f"--data_dir={pictures}", "--image_size=16,16", "--batch_size=8"]
    code, _, error = command(*given, "--model=resnet32", f"--pretrained={pretrained}")
    assert code == 2
    assert "missing     model.backbone.stage2.block3" in error

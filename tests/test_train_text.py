"""Texts by the command line: classifiers and language models, trained, exported, and generating."""

import json

import numpy as np
import pytest
import tensorflow as tf

import engine
from cli import networks

TINY = ["--embedding_dim=8", "--batch_size=16", "--epochs=1", "--notensorboard", "--run_dir=run"]


@pytest.fixture
def play(tmp_path):
    """A folder of one short text for each split."""
    lines = ["To be, or not to be, that is the question:", "Whether 'tis nobler in the mind to suffer", "é"]
    for split, times in (("train", 20), ("test", 5)):
        (tmp_path / "play").mkdir(exist_ok=True)
        (tmp_path / "play" / f"{split}.txt").write_text("\n".join(lines * times), encoding="utf-8")
    return "--data_dir=play"


def result(tmp_path):
    return json.loads((tmp_path / "run" / "result.json").read_text())


def test_a_classifier_of_reviews_is_trained_and_exported(command, tmp_path):
    options = ["--dataset=movie_reviews", "--vocabulary_size=300", "--max_length=12", "--validation_fraction=0.1"]
    options += ["--augment=token_dropout(0.1, 1)", "--max_steps=30"]
    assert command(*TINY, *options, "--model=text_average")[0] == 0
    assert set(result(tmp_path)["test"]) == {"loss", "data_loss", "accuracy"}
    assert command("--mode=export", "--run_dir=run")[0] == 0
    model = engine.load_model(tmp_path / "run" / "model.h5")
    served = tf.saved_model.load(str(tmp_path / "run" / "export")).signatures["serving_default"]
    ids = np.array([[5, 7, 1, 0, 0], [9, 2, 3, 4, 8]], np.int32)
    np.testing.assert_allclose(served(inputs=tf.constant(ids))["outputs"], model(ids), atol=1e-6)
    code, _, err = command("--mode=generate", "--run_dir=run")
    assert code == 2
    assert "needs a run of --model=transformer_lm or lstm_lm, not text_average" in err


@pytest.mark.parametrize("model", networks.LANGUAGE_MODELS)
def test_a_language_model_goes_on_from_a_prompt_as_its_flags_say(command, tmp_path, play, model):
    options = ["--dataset=char_text", "--max_length=10", "--validation_fraction=0.2", play]
    options += ["--units=4"] if model == "lstm_lm" else ["--num_heads=2"]
    assert command(*TINY, *options, "--max_steps=10", f"--model={model}")[0] == 0
    test = result(tmp_path)["test"]
    assert test["bits_per_character"] == pytest.approx(test["data_loss"] / np.log(2), rel=1e-6)

    def generated(*arguments):
        code, out, _ = command("--mode=generate", "--run_dir=run", "--prompt=é", "--length=30", *arguments)
        assert code == 0
        return out.removesuffix("\n")

    found = generated("--seed=1")
    assert found.startswith("é")
    assert len(found) == len("é") + 30
    assert found != generated("--seed=2")
    assert generated("--seed=1", "--top_k=1") == generated("--seed=2", "--temperature=0")


def test_lines_of_text_become_windows_of_byte_pairs(command, tmp_path, play):
    options = ["--dataset=text_lines", "--tokenizer=byte_pairs", "--vocabulary_size=270", "--max_length=10", play]
    assert command(*TINY, *options, "--model=lstm_lm", "--units=4")[0] == 0
    test = result(tmp_path)["test"]
    assert test["bits_per_token"] == pytest.approx(test["data_loss"] / np.log(2), rel=1e-6)
    code, out, _ = command("--mode=generate", "--run_dir=run", "--prompt=é", "--length=8")
    assert code == 0
    assert out.startswith("é")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=lstm_lm", "--dataset=fashion_mnist_mini"], "takes texts, which fashion_mnist_mini has not"),
        (["--model=text_lstm", "--dataset=movie_reviews", "--units="], "needs --units"),
        (["--mode=generate"], "needs --run_dir"),
        (["--mode=generate", "--run_dir=none"], "expected a finished run"),
    ],
)
def test_what_does_not_go_together_is_named(command, arguments, message):
    code, _, err = command(*arguments)
    assert code == 2
    assert message in err

"""``fmedge tune``, and ``fmedge run`` that takes its choice."""

import json

import pytest

BRIEF = ("--size", "48x64", "--weights", "untrained", "--backend", "onnxruntime", "--threads", "1", "--seconds", "0")


@pytest.fixture
def tuned(fmedge_process, untrained_models):
    path = untrained_models / "block1_conv2.untrained.48x64.tuned.json"
    process = fmedge_process("tune", "--layer", "block1_conv2", *BRIEF, "--models", untrained_models)
    yield process, path
    path.unlink()


def test_run_takes_the_choice_and_says_so(fmedge_process, tuned, picture, untrained_models, tmp_path):
    process, path = tuned
    assert process.stdout.splitlines()[-1] == str(path)
    assert "fmedge run uses it by default" in process.stderr
    words = ("run", picture, "--layer", "block1_conv2", "--size", "48x64", "--weights", "untrained", "--json")
    where = ("--models", untrained_models, "--no-page", "--save-maps", tmp_path / "maps.npz")
    ran = fmedge_process(*words, *where)
    assert f"Tuned choice: onnxruntime, fp32, {json.loads(ran.stdout)['threads']} thread" in ran.stderr
    assert "Tuned" in fmedge_process(*words, *where, "--tuned").stderr
    assert "Tuned" not in fmedge_process(*words, *where, "--untuned").stderr
    assert "Tuned" not in fmedge_process(*words, *where, "--backend", "onnxruntime").stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("run", "PICTURE", "--tuned", "--backend", "ncnn"), 2, "Leave out those options"),
        (("run", "PICTURE", "--tuned", "--weights", "untrained"), 2, "Make one: fmedge tune"),
        (("tune", "--layer", "block9_conv1"), 2, "Unknown layer"),
        (("tune", "--min-snr", "120"), 2, "less than or equal to 100"),
        (("tune", "--backend", "abacus", "--weights", "untrained"), 2, "Unknown backend"),
        (("tune", "--photos", "nowhere/*.jpg"), 3, "nowhere"),
        (("tune", "--photos", "nowhere.jpg"), 3, "No image 'nowhere.jpg'"),
        (("tune", "--output", "report.doc"), 2, "Allowed: a name that ends in"),
    ],
)
def test_what_is_refused(fmedge_inprocess, picture, words, code, message):
    process = fmedge_inprocess(*[picture if word == "PICTURE" else word for word in words], code=code)
    assert message in process.stderr
    assert len(process.stderr.splitlines()) == 1

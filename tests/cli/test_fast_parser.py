"""What is read without Typer is what Typer reads."""

import pytest
from typer.main import get_command

from fmedge.cli import app
from fmedge.cli.fast_parser import SWITCHES, VALUES, read_quickly
from fmedge.model.run_options import RunOptions
from fmedge.runtime.opening import choose_backend


@pytest.fixture(scope="module")
def run_command():
    return get_command(app.app).commands["run"]


def typer_reads(command, words):
    context = command.make_context("run", list(words))
    return {name: list(value) if name == "images" else value for name, value in context.params.items()}


def quickly(words):
    """Every argument, as the function takes it."""
    found = read_quickly(["run", *words])
    return found and found._asdict()


def test_the_tables_are_the_commands_options(run_command):
    typed = {name: parameter for parameter in run_command.params for name in parameter.opts if name.startswith("-")}
    switches = {name: (parameter.name, True) for name, parameter in typed.items() if parameter.is_flag}
    switches |= {name: (parameter.name, False) for parameter in run_command.params for name in parameter.secondary_opts}
    assert switches == SWITCHES
    assert {name: parameter.name for name, parameter in typed.items() if not parameter.is_flag} == {
        option: name for option, (name, _) in VALUES.items()
    }


@pytest.mark.parametrize(
    "line",
    [
        "photo.jpg",
        "photo.jpg --layer block3_conv1 --output page.html",
        "--layer=all a.jpg b.jpg photos --output=pages --json",
        "photos/**/*.jpg --no-page --save-maps maps/ --offline --resize none",
        "Bäume.jpg --activation none --channel 5 --precision int8 --format tflite --size 320x240",
        "a.jpg --backend ncnn --device vulkan --threads 2 --cpus 0,1 --math bf16 --allow-fallback",
        "a.jpg --weights untrained --models ./models --keras ~/own.keras --model x.onnx",
        "a.jpg --keras own.h5 --preprocessing unit --size 32",
        "a.jpg --keras own.h5 --scale 1/128 --mean 0.5,0.5,0.5 --std 1 --order bgr",
        "a.jpg --activation both --values float16 --png s.png --plotlyjs cdn --style grid",
        "a.jpg --tuned",
        "a.jpg --untuned --layer all",
        "a.jpg --layer= --weights=a=b.h5",
        "~/a.jpg ../b.jpg ./c.jpg //d.jpg folder/",
        "a.jpg --channel 007 --resize bicubic --activation relu --precision fp16 --format onnx",
    ],
)
def test_the_same_is_read(run_command, line):
    found = quickly(line.split())
    if found is None:
        assert "--layer=" in line.split()  # an empty value is Typer's
        return
    read = typer_reads(run_command, line.split())
    assert found == read
    assert {name: type(value) for name, value in found.items()} == {name: type(value) for name, value in read.items()}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--help",
        "a.jpg --help",
        "a.jpg --lay block1_conv1",
        "a.jpg --layer",
        "a.jpg --layer a --layer b",
        "a.jpg --json --json",
        "a.jpg --tuned --untuned",
        "a.jpg --json=yes",
        "a.jpg --output --json",
        "a.jpg --channel -1",
        "a.jpg --channel 1.0",
        "a.jpg --channel ٣",
        "a.jpg --activation RELU",
        "a.jpg --values 8bit",
        "a.jpg --precision fp8",
        "a.jpg --resize lanczos",
        "a.jpg --math fp16",
        "-- a.jpg",
        "- a.jpg",
        "a.jpg -x",
        "\udcff.jpg",
        "--layer block1_conv1",
    ],
)
def test_what_is_wrong_or_unusual_is_left_to_typer(line):
    assert read_quickly(["run", *line.split()]) is None


def test_other_commands_are_left_to_typer(monkeypatch):
    assert read_quickly([]) is None
    assert read_quickly(["info", "a.onnx"]) is None
    assert read_quickly(["--version"]) is None
    monkeypatch.setenv("_FMEDGE_COMPLETE", "complete_bash")
    assert read_quickly(["run", "a.jpg"]) is None


def test_a_run_loads_no_typer(fmedge_process, block1, picture):
    words = ("run", picture, "--weights", "untrained", "--models", block1.path.parent)
    told = fmedge_process(*words, PYTHONPROFILEIMPORTTIME="1").stderr
    loaded = {line.rpartition("|")[2].strip() for line in told.splitlines() if line.startswith("import time:")}
    assert choose_backend(RunOptions()).package in loaded
    assert not loaded & {"typer", "pydantic", "onnx", "h5py", "plotly"}

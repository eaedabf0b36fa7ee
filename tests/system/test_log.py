"""The library says nothing by itself; who listens hears it, and the command line says it on stderr."""

import logging
import os
import subprocess
import sys

import pytest

from fmedge.cli.console import logged_lines
from fmedge.system.log import log
from support.places import ROOT


def test_a_program_that_does_not_listen_sees_nothing():
    script = "from fmedge.system.log import log; log.warning('told'); log.info('told')"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert (ran.stdout, ran.stderr) == ("", "")


def test_the_library_prints_nothing(photos_folder, tmp_path, capfd, caplog):
    from fmedge.export.calibration import read_calibration

    for photo in sorted(photos_folder.iterdir())[:4]:
        (tmp_path / photo.name).write_bytes(photo.read_bytes())
    (tmp_path / "a.jpg").write_text("no image")
    read_calibration(tmp_path)
    assert [message.split(":")[0] for message in caplog.messages] == ["Skipped", "Only 4 photos for calibration"]
    assert {record.name for record in caplog.records} == {"fmedge"}
    assert capfd.readouterr() == ("", "")


def test_the_command_line_says_each_as_a_line(capsys):
    with logged_lines():
        log.info("Exporting a\x1b[31m 100 % %s first.")
        log.warning("Second\nline.")
    log.warning("After it.")
    assert capsys.readouterr().err == "Exporting a?[31m 100 % %s first.\nSecond?line.\n"
    assert (log.level, [type(handler) for handler in log.handlers]) == (logging.NOTSET, [logging.NullHandler])


def test_it_says_so_while_libraries_are_silenced(capsys):
    with logged_lines():
        logging.disable(logging.ERROR)
        try:
            log.info("Only 4 photos.")
        finally:
            logging.disable(logging.NOTSET)
    assert capsys.readouterr().err == "Only 4 photos.\n"
    assert "isEnabledFor" not in vars(log)


def test_a_handler_of_a_library_does_not_say_it_again(capsys, caplog):
    with logged_lines():
        log.warning("Once.")
    assert capsys.readouterr().err == "Once.\n"
    assert not caplog.messages
    assert log.propagate


def test_export_says_what_is_logged(photos_folder, tmp_path):
    """In a process of its own, as a user has it."""
    for photo in sorted(photos_folder.iterdir())[:4]:
        (tmp_path / photo.name).write_bytes(photo.read_bytes())
    words = [
        "-m",
        "fmedge",
        "export",
        "--weights",
        "untrained",
        "--precision",
        "int8",
        "--size",
        "64",
        "--models",
        "models",
        "--calibration",
    ]
    run = [sys.executable, *words, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(run, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert "Only 4 photos for calibration: the ranges may not be reliable. Suggested: 64." in ran.stderr.splitlines()


def test_an_error_leaves_no_handler():
    with pytest.raises(ValueError, match="x"), logged_lines():
        raise ValueError("x")
    assert len(log.handlers) == 1

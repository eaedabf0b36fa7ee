"""Faults planted one at a time: is each caught by a test?

    python tests/planted_faults.py [--write docs/planted-faults.md]

Each is put into a copy of the checkout, and the tests named beside it run there; the first that fails caught it.
"""

# ruff: noqa: E501 - a fault is a line of the table

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from support.places import TEST_DATA

ROOT = Path(__file__).parent.parent


class Fault(NamedTuple):
    """A line that is exchanged for a wrong one, and the tests that have to notice."""

    what: str
    file: str
    right: str
    wrong: str
    tests: str


FAULTS = (
    Fault("red and blue swapped", "export/onnx/direct.py", "kernel[:, :, ::-1, :]", "kernel", "export/test_exporter.py"),
    Fault("height and width of the kernel swapped", "export/onnx/direct.py", "transpose(3, 2, 0, 1)", "transpose(3, 2, 1, 0)", "export/test_exporter.py"),
    Fault("padding off by one", "export/onnx/direct.py", "pads=[1, 1, 1, 1]", "pads=[2, 0, 1, 1]", "export/test_exporter.py"),
    Fault("bias lost", "export/onnx/direct.py", "numpy_helper.from_array(bias,", "numpy_helper.from_array(0 * bias,", "export/test_keras_agreement.py export"),
    Fault("wrong mean", "model/preprocessing.py", "116.779", "116.778", "export/test_keras_agreement.py data/test_images.py"),
    Fault("mean in the wrong order", "export/onnx/direct.py", "card.preprocessing.mean[::-1]", "card.preprocessing.mean", "export/test_exporter.py"),
    Fault("Keras cut as in training", "export/tensorflow/keras_cut.py", '**{**kwargs, "training": False})', '**{**kwargs, "training": True})', "export/test_keras_inference.py"),
    Fault("grey cut off, not rounded", "export/tensorflow/trace.py", "(sum(parts) + 0.5)", "(sum(parts))", "export/test_keras_inference.py"),
    Fault("own preprocessing left out", "export/tensorflow/trace.py", "if any(offsets):", "if False:", "export/test_keras_inference.py"),
    Fault("ReLU left out", "export/onnx/direct.py", 'helper.make_node("Relu", [before]', 'helper.make_node("Identity", [before]', "export/test_exporter.py export/test_keras_agreement.py"),
    Fault("ReLU on raw maps", "export/onnx/direct.py", "raw_tap = spec.name in", "raw_tap = False and spec.name in", "export/test_exporter.py export/test_keras_agreement.py"),
    Fault("pool rounds up", "export/reference.py", "values[: height // 2 * 2, : width // 2 * 2]", "np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))", "export"),
    Fault("the judge pads with the mean", "export/reference.py", "((1, 1), (1, 1), (0, 0)))", "((1, 1), (1, 1), (0, 0)), 'edge')", "export/test_exporter.py"),
    Fault("parity is not required", "model/parity.py", "        if not self.passed:", "        if False:", "export model/test_parity.py"),
    Fault("a block with a convolution too few", "model/stock.py", "_layers((2, 2, 3, 3, 3))", "_layers((2, 2, 3, 2, 3))", "model/test_stock.py"),
    Fault("EXIF orientation ignored", "data/images.py", "Upright(opened, _orientation(opened))", "Upright(opened)", "data/test_images.py data/test_odd_images.py"),
    Fault("height and width of the photo swapped", "data/upright.py", "zip(self.size, (height, width), strict=True)", "zip(self.size, (width, height), strict=True)", "data/test_images.py"),
    Fault("turned the other way", "data/upright.py", "6: _Turn(Image.Transpose.ROTATE_270, True, True, False)", "6: _Turn(Image.Transpose.ROTATE_90, True, False, True)", "data/test_upright.py data/test_images.py"),
    Fault("always resized along the rows first", "data/upright.py", "return down > 0 and down > 2 * across", "return False", "data/test_upright.py"),
    Fault("any format is opened", "data/images.py", "Image.open(file, formats=FORMATS)", "Image.open(file)", "data/test_images.py data/test_odd_images.py"),
    Fault("no bound on pixels", "data/image_bounds.py", "if pixels > most:", "if False:", "data/test_images.py data/test_odd_images.py"),
    Fault("scans after the first are not counted", "data/image_bounds.py", "scans += marker == _SOS", "scans += False", "data/test_image_bounds.py"),
    Fault("EXIF is not bounded", "data/image_bounds.py", "self.exif_bytes += size if exif else 0", "self.exif_bytes += 0", "data/test_image_bounds.py"),
    Fault("images decoded at once are not bounded", "system/memory.py", "(wanted + reserved.size > most or not _is_there(", "(not _is_there(", "system/test_memory.py"),
    Fault("Keras unpacks what is beside the model", "model/keras_config.py", "if name not in _MEMBERS or names.count(name) > 1:", "if names.count(name) > 1:", "export/test_keras_bounds.py"),
    Fault("chunks unpack to anything", "model/h5_weights.py", "        _require_packed(dataset, size, filters)", "        pass", "export/test_keras_bounds.py"),
    Fault("layers are as large as they say", "export/tensorflow/keras_bounds.py", "        self._left -= size", "        self._left -= 0", "export/test_keras_bounds.py"),
    Fault("values of layers are not bounded", "export/room.py", "    if wanted > most:", "    if False:", "export/test_keras_bounds.py"),
    Fault("shared lists are counted once", "runtime/gate/flatbuffer.py", "        self._left[0] -= values", "        self._left[0] -= 0", "system/test_amounts.py"),
    Fault("facts of any length", "runtime/gate/bounds.py", 'require_count("bytes of facts", end - start, MAX_CARD_BYTES)', 'require_count("bytes of facts", 0, MAX_CARD_BYTES)', "system/test_amounts.py"),
    Fault("documents of any number of values", "system/serde.py", "        if count > most:", "        if False:", "system/test_amounts.py"),
    Fault("memory is not asked for before decoding", "system/memory.py", "            reserved.changed.wait()\n        require_memory(what, wanted)", "            reserved.changed.wait()", "data/test_image_bounds.py"),
    Fault("memory that other threads freed is not asked back", "system/memory.py", "    _return_freed()\n    return size", "    return size", "system/test_memory.py"),
    Fault("decoding threads do not take turns", "system/memory.py", "while reserved.size and (wanted", "while False and (wanted", "system/test_memory.py"),
    Fault("file not synced", "system/files.py", "os.fsync(stream.fileno())", "stream.fileno()", "system/test_files.py"),
    Fault("folder not synced", "system/files.py", "        sync_folder(path.parent)\n\n\ndef write_bytes", "\n\ndef write_bytes", "system/test_files.py"),
    Fault("temporary file left behind", "system/files.py", "        finally:\n            discard(temporary)", "        finally:\n            pass", "system/test_files.py"),
    Fault("a planted link is followed", "system/temp_files.py", 'os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)', "0", "system/test_files.py"),
    Fault("the card named before the model", "system/files.py", "(*parts.items(), (path, record))", "((path, record), *parts.items())", "model/test_artifact.py export/test_ncnn_direct.py"),
    Fault("the old card stays beside a new model", "system/files.py", "            remove(path)\n", "", "model/test_artifact.py"),
    Fault("two commits at once", "system/files.py", "with turn(path.parent):", "with contextlib.nullcontext():", "model/test_artifact.py"),
    Fault("what was written is not read again", "system/files.py", "if not is_whole(stream):", "if False:", "system/test_files.py"),
    Fault("a device is replaced by a file", "system/files.py", "if not stat.S_ISREG(path.stat().st_mode):", "if False:", "system/test_files.py"),
    Fault("the hash is not compared", "model/artifact.py", "if files_sha256(model, weights) != card.file_sha256:", "if False:", "model/test_artifact.py"),
    Fault("a doubled ReLU is not seen", "runtime/gate/relu_count.py", "if way.twice:", "if False:", "runtime/test_relu_count.py"),
    Fault("ncnn's shapes are not looked at", "runtime/gate/ncnn_reader.py", '"float32", shape, one_image=True', '"float32", None, one_image=True', "runtime/test_ncnn_gate.py"),
    Fault("kernels in ncnn's files of any size", "runtime/gate/ncnn_rules.py", "    if stated != count:", "    if False:", "runtime/test_ncnn_layers.py"),
    Fault("borders in ncnn's files take no memory", "runtime/gate/ncnn_rules.py", "scratch=_padded(call.shapes[0], windows)", "scratch=0", "runtime/test_ncnn_layers.py"),
    Fault("ncnn's slices without parts", "runtime/gate/ncnn_moves.py", "    if (0 in lists) == (2 in lists):", "    if False:", "runtime/test_ncnn_layers.py"),
    Fault("red and blue swapped before pnnx", "export/ncnn/pnnx_route.py", "colours[::-1]", "colours", "export/test_ncnn_networks.py"),
    Fault("grey cut off, not rounded, before pnnx", "export/ncnn/pnnx_route.py", "graph.plain([0.5])", "graph.plain([0.0])", "export/test_ncnn_networks.py"),
    Fault("a kernel too large for ncnn's float16", "export/ncnn/pnnx_route.py", "        _require_float16(planes)", "        pass", "export/test_ncnn_networks.py"),
    Fault("taps of pnnx exchanged", "export/ncnn/pnnx_route.py", "place == index", "place == max(places) - index", "export/test_ncnn_networks.py"),
    Fault("a Transpose after its reader", "export/onnx/passes/order.py", "last = {*outputs} - {name for node in nodes for name in node.input}", "last = {*outputs}", "export/test_passes.py"),
    Fault("a word is not the member of its enumeration", "system/choices.py", "                return word\n", "                return value  # type: ignore\n", "system/test_choices.py"),
    Fault("an activation that others read around is taken in", "export/tensorflow/keras_taps.py", "if len(found) == 1 and (function", "if found and (function", "export/test_keras_labels.py"),
    Fault("axes of channels first mixed up", "export/tensorflow/keras_layout.py", "{0: 0, 1: 3, 2: 1, 3: 2}", "{0: 0, 1: 3, 2: 2, 3: 1}", "export/test_keras_channels_first.py"),
    Fault("softmax along the columns becomes one along the channels", "export/tensorflow/keras_layout.py", "return function if function.startswith(_UNEVEN) else None", "return None", "export/test_keras_channels_first.py"),
    Fault("as many classes as the classifier has features", "export/tensorflow/keras_applications.py", "max(biases - between or biases,", "max(biases,", "export/test_keras_weights.py"),
    Fault("operations in .h5 files are taken for layers", "export/tensorflow/keras_file.py", "else with_modules(file.config)", "else file.config", "export/test_keras_applications.py"),
    Fault("every activation is called ReLU", "export/tensorflow/keras_taps.py", "return f\"{word}({shown})\" if shown else word", 'return "relu"', "export/test_keras_labels.py"),
    Fault("pictures cut off what is below zero", "render/sheet.py", "rectified = len(views) > 1", "rectified = True", "render/test_page.py"),
    Fault("sums of the calibration saturate", "export/int8/plan.py", "convolve(codes, conv.kernel, conv.bias)", "convolve(codes, conv.kernel, conv.bias).clip(-(2**15), 2**15)", "export/test_int8_gate.py"),
    Fault("predictions are not required", "export/judging.py", "predicted.get(name)", "None", "export/test_int8_gate.py"),
    Fault("OpenVINO adds in 16 bits", "runtime/engines/openvino_engine.py", "properties |= _IN_FLOAT", "pass", "runtime/test_without_vnni.py"),
    Fault("ONNX Runtime adds in 16 bits", "runtime/engines/onnxruntime_engine.py", "int8_overflows(artifact.card, provider) is not False", "False", "runtime/test_without_vnni.py"),
    Fault("VNNI is taken for granted", "system/processor.py", "not features & _VNNI", "False", "runtime/test_without_vnni.py"),
    Fault("CUDA computes in TF32", "runtime/engines/onnxruntime_engine.py", '"use_tf32": "0"', '"use_tf32": "1"', "runtime/test_devices.py"),
    Fault("a device that fails at a run falls back", "runtime/engines/onnxruntime_engine.py", "enable_fallback=0", "enable_fallback=1", "runtime/test_devices.py"),
    Fault("a device falls back silently", "runtime/engines/onnxruntime_engine.py", "    if not options.allow_fallback:\n        _require_all_on", "    if False:\n        _require_all_on", "runtime"),
    Fault("an unknown model runs with us", "runtime/opening.py", "    if known_models.is_known(artifact.card) and", "    if True or", "runtime/test_isolated.py"),
    Fault("a model is known whatever its card says", "model/known_models.py", "{card.file_sha256}\\n{card.facts_json()}", "{card.file_sha256}", "model/test_known_models.py"),
    Fault("a card may contradict its file", "runtime/gate/checks.py", " or _other_facts(facts, card)", "", "runtime/test_isolated.py"),
    Fault("pixels say how large something is", "runtime/gate/shapes.py", "            raise computed(self.step.operator)", "            return [1]", "runtime/test_shapes.py"),
    Fault("outputs of others may be anything", "runtime/isolated.py", "if found != wanted:", "if False:", "runtime/test_isolated.py"),
    Fault("NaN of others is taken over", "runtime/isolated.py", "if not finite:", "if False:", "runtime/test_isolated.py"),
    Fault("a run of others may take for ever", "runtime/isolated.py", "late.start()", "late.is_alive()", "runtime/test_isolated.py"),
    Fault("an operator that makes large data", "runtime/gate/onnx_operators.py", "Pad Resize Tile", "Pad Resize Tile ConstantOfShape", "runtime/test_gate.py"),
    Fault("native: red and blue swapped", "export/native/direct.py", "kernel = kernel[:, :, ::-1, :]", "pass", "export/test_native_direct.py"),
    Fault("native: a ReLU that nothing reads is kept", "export/native/file.py", "return Flag.TAP if last else own | Flag.TAP_BEFORE_RELU", "return own | (Flag.TAP if last else Flag.TAP_BEFORE_RELU)", "export/test_native_direct.py"),
    Fault("native: factors stay out of the kernels", "export/native/pixels.py", "kernel * self.factors.reshape(1, -1, 1, 1)", "kernel", "export/test_native_networks.py"),
    Fault("native: the gate lets any flags pass", "runtime/gate/native_reader.py", "if flags not in _FLAGS[kind] or zero:", "if False:", "runtime/test_native_gate.py"),
    Fault("native: the gate does not follow the arrays", "runtime/gate/native_reader.py", "    if offset != wanted:", "    if False:", "runtime/test_native_gate.py"),
    Fault("native: the gate forgets half of the memory", "runtime/gate/native_reader.py", "most = max(most, before + after)", "most = max(most, after)", "runtime/test_native_gate.py"),
    Fault("native: a page's first kernels keep the factors", "runtime/gate/native_kernels.py", "np.divide(values.transpose(0, 2, 3, 1), factors,", "np.divide(values.transpose(0, 2, 3, 1), [1, 1, 1],", "export/test_native_networks.py"),
    Fault("a name unescaped", "render/document.py", ".translate(_JSON_ESCAPES)", "", "render/test_page.py"),
    Fault("the download's hash not compared", "model/download.py", "if digest.hexdigest() != md5:", "if False:", "model/test_download.py"),
    Fault("a session in two threads", "runtime/session.py", "if not self._turn.acquire(blocking=False):", "if self._turn.acquire(blocking=False) is None:", "runtime/test_sessions.py"),
    Fault("the tuner takes what is inexact", "workflow/tuned_choice.py", "return self.parity.snr_db >= EXACT_DB", "return True", "workflow/test_tuned_choice.py"),
    Fault("a tuned choice of another machine", "workflow/tuned_choice.py", "if this_machine().hardware != tuned.machine.hardware:", "if False:", "workflow/test_tuned_choice.py"),
)  # fmt: skip

WORDS = """# Planted faults

Each of these was put into the package, one at a time, and the tests beside it were run: the last column is the first that failed.
`python tests/planted_faults.py --write docs/planted-faults.md` repeats it.

| fault | file | caught by |
|---|---|---|
"""


def main() -> int:
    """Plant all, or those whose words hold a text; the number that nobody noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="?", default="", help="only faults whose words hold this")
    parser.add_argument("--write", type=Path, help="write the table")
    chosen = parser.parse_args()
    rows: list[tuple[Fault, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        skipped = shutil.ignore_patterns(".*", "models", "results", "__pycache__")
        shutil.copytree(ROOT, copy, ignore=skipped)
        for fault in [each for each in FAULTS if chosen.words in each.what]:
            rows.append((fault, _plant(copy, fault)))
            print(f"{rows[-1][1] or 'NOT CAUGHT':70} {fault.what}", flush=True)
    if chosen.write:
        lines = (f"| {fault.what} | `{fault.file}` | {f'`{by}`' if by else '**nothing**'} |\n" for fault, by in rows)
        chosen.write.write_text(WORDS + "".join(lines))
    return sum(not by for _, by in rows)


def _plant(copy: Path, fault: Fault) -> str:
    """The first test that fails with the fault; empty where none does."""
    path = copy / "fmedge" / fault.file
    right = path.read_text()
    if fault.right not in right:
        raise SystemExit(f"{fault.file} has no longer: {fault.right}")
    path.write_text(right.replace(fault.right, fault.wrong, 1))
    words = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*words, *(f"tests/{name}" for name in fault.tests.split())],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "FMEDGE_TEST_DATA": str(TEST_DATA)},
        capture_output=True,
        text=True,
        check=False,
    )
    path.write_text(right)
    found = re.search(r"^(?:FAILED|ERROR) tests/([^\s\[]+)", ran.stdout, re.MULTILINE)
    return found[1] if ran.returncode and found else ""


if __name__ == "__main__":
    sys.exit(main())

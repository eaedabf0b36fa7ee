"""Which int8 models are measured depends on what the processor does with products of bytes."""

import platform

import pytest

from fmedge.bench.matrix import PLAIN, BenchMatrix, prepare_cases, variants_here
from fmedge.cli.export import _is_faster_with_seven_bits
from fmedge.export.exporter import EXPORTERS
from fmedge.model.submodel import Precision
from fmedge.runtime import backends

INT8 = {row.format for row in EXPORTERS if Precision.INT8 in row.precisions}
"""Formats that int8 models are written in."""

PROCESSORS = {"AVX2 alone": (frozenset(("avx2", "fma")), True), "VNNI": (frozenset(("avx2", "avx512_vnni")), False)}


@pytest.fixture(params=PROCESSORS.values(), ids=PROCESSORS)
def seven_bits_pay(request, monkeypatch):
    features, pay = request.param
    monkeypatch.setattr(backends, "processor_features", lambda: features)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return pay


def test_seven_bits_are_tried_where_sums_would_overflow(seven_bits_pay, untrained_models, photos_folder):
    matrix = BenchMatrix(
        precisions=(Precision.INT8,),
        backends=tuple(row.name for row in backends.BACKENDS if row.installed and row.formats[0] in INT8),
        size=(48, 64),
        threads=(1,),
        weights="untrained",
        models=untrained_models,
        calibration=photos_folder,
    )
    cases, missing = prepare_cases(matrix)
    assert missing == []
    found = {(case.configuration.backend, case.configuration.variant) for case in cases}
    plain = {(name, PLAIN) for name in matrix.backends}
    seven = {(name, "seven-bit") for name in matrix.backends if name != "litert"}
    assert found == (plain | seven if seven_bits_pay else plain)
    assert {name for name in variants_here() if "seven" in name} == (
        {"seven-bit", "seven-bit-tap-float"} if seven_bits_pay else set()
    )


def test_export_says_which_form_is_faster_here(seven_bits_pay, untrained_models, photos_folder):
    matrix = BenchMatrix(
        precisions=(Precision.INT8, Precision.FP32),
        variants=(PLAIN, "seven-bit"),
        backends=("onnxruntime",),
        size=(48, 64),
        weights="untrained",
        models=untrained_models,
        calibration=photos_folder,
    )
    cases, _ = prepare_cases(matrix)
    told = {case.configuration.form: _is_faster_with_seven_bits(case.card) for case in cases}
    assert told == {"int8": seven_bits_pay, "int8/seven-bit": False, "fp32": False}

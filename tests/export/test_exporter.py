"""Build, check, write: and nothing written where the check fails."""

import numpy as np
import pytest

from fmedge.data.images import parity_image
from fmedge.errors import ArtifactError, ParityError, WriteError
from fmedge.export.exporter import build_artifact
from fmedge.model.submodel import Activation, SubModel
from fmedge.workflow.artifacts import run_batches


@pytest.mark.parametrize(
    ("layer", "activation"), [("block1_conv2", "relu"), ("block2_conv1", "none"), ("block1_pool", "relu")]
)
def test_parity_stands_in_the_card(untrained_network, tmp_path, layer, activation):
    submodel = SubModel((layer,), Activation(activation))
    artifact = build_artifact(submodel, untrained_network, tmp_path / "m.onnx", runner=run_batches)
    assert artifact.card.parity is not None
    assert artifact.card.parity.snr_db > 110
    assert artifact.card.file_sha256 is not None


def test_without_a_runner_the_card_says_so(untrained_network, submodel, tmp_path):
    artifact = build_artifact(submodel, untrained_network, tmp_path / "m.onnx", runner=None)
    assert artifact.card.parity is None


def no_padding_border(maps):
    maps[:, :, 0, :] *= 0.99


def lost_bias(maps):
    maps += 0.5


def swapped_axes(maps):
    maps[:] = maps.transpose(0, 1, 3, 2).copy()


def swapped_channels(maps):
    maps[:, [0, 1]] = maps[:, [1, 0]].copy()


def one_pixel(maps):
    maps[0, 3, 100, 100] += 1.0


@pytest.mark.parametrize(
    "fault", [no_padding_border, lost_bias, swapped_axes, swapped_channels, one_pixel], ids=lambda fault: fault.__name__
)
def test_wrong_model_is_not_left_behind(untrained_network, submodel, tmp_path, fault):
    def wrong(artifact, batches):
        for found in run_batches(artifact, batches):
            outputs = {name: maps.copy() for name, maps in found.items()}
            fault(outputs["block1_conv1"])
            yield outputs

    with pytest.raises(ParityError, match=r"m\.onnx does not compute"):
        build_artifact(submodel, untrained_network, tmp_path / "m.onnx", runner=wrong)
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_refuses_a_new_model_is_not_answered_by_another_export(untrained_network, submodel, tmp_path):
    def refuse(artifact, batches):
        raise ArtifactError(
            f"Engine cannot load '{artifact.path.name}': it is odd.", hint="Export it again: fmedge export."
        )

    with pytest.raises(ArtifactError) as caught:
        build_artifact(submodel, untrained_network, tmp_path / "m.onnx", runner=refuse)
    end = "Nothing was written. Try another --format or --size, or cut earlier."
    assert caught.value.in_full() == f"Engine cannot load 'm.onnx': it is odd. {end}"
    assert not list(tmp_path.iterdir())


def test_parity_image_tells_axes_and_colours_apart():
    image = parity_image(40, 40)
    assert image.dtype == np.uint8
    for other in (image.transpose(1, 0, 2), image[::-1], image[:, ::-1], image[:, :, ::-1]):
        assert np.abs(image.astype(int) - other).mean() > 20


def test_folder_that_is_a_file(untrained_network, submodel, tmp_path):
    (tmp_path / "models").touch()
    with pytest.raises(WriteError):
        build_artifact(submodel, untrained_network, tmp_path / "models" / "m.onnx", runner=None)

"""PyTorch modules, exported by PyTorch and then cut as any ONNX network."""

import sys

import pytest

import fmedge
from fmedge.errors import BackendUnavailable, UsageError
from support.messages import says

OPTIONS = fmedge.ExportOptions(preprocessing="torch")


def test_without_pytorch(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendUnavailable, check=says("Install them: pip install torch onnxscript")):
        fmedge.export_submodel("conv", torch=object(), example=object(), models=tmp_path, options=OPTIONS)


@pytest.mark.parametrize(
    "given", [{}, {"example": object(), "network": "vgg19"}, {"example": object(), "onnx": "a.onnx"}]
)
def test_what_excludes_each_other(given):
    with pytest.raises(UsageError, match="torch needs an example, and excludes network, keras and onnx"):
        fmedge.export_submodel("conv", torch=object(), **given)


@pytest.fixture
def torch():
    pytest.importorskip("onnxscript", reason="needs PyTorch's exporter: pip install torch onnxscript")
    return pytest.importorskip("torch", reason="needs PyTorch: pip install torch onnxscript")


def test_a_module_is_cut_by_its_own_names(torch, tmp_path):
    block = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.SiLU(), torch.nn.Conv2d(8, 4, 1)
    )
    block.train()
    block[1].eval()
    example = torch.zeros(1, 3, 32, 40)
    artifact = fmedge.export_submodel("1", torch=block, example=example, models=tmp_path, options=OPTIONS)
    assert artifact.card.parity.passed
    assert artifact.card.functions == ("silu",)
    assert artifact.card.outputs[0].shape == (None, 8, 30, 38)
    assert (block.training, block[0].training, block[1].training) == (True, True, False)


def test_what_pytorch_cannot_export_is_one_line(torch, tmp_path):
    class Undecided(torch.nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(UsageError, check=says("PyTorch cannot export this module: ")) as caught:
        fmedge.export_submodel(
            "a", torch=Undecided(), example=torch.zeros(1, 3, 8, 8), models=tmp_path, options=OPTIONS
        )
    assert "\n" not in caught.value.in_full()

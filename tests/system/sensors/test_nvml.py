"""NVIDIA's library by ctypes: a small one in C stands in for it, with the names and types of its functions."""

import shutil
import subprocess

import pytest

from fmedge.system.sensors.host import Host
from fmedge.system.sensors.table import find_power
from fmedge.workflow.doctor import describe_sensors

SOURCE = """
#include <string.h>
static int here;
int nvmlInit_v2(void) { return INIT; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
  *device = &here;
  return index;
}
int nvmlDeviceGetName(void *device, char *name, unsigned int length) {
  if (device != &here || length < 20) return 2;
  strcpy(name, "NVIDIA \\033[1mH100");
  return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
  static unsigned long long total = 5000000000000ull;
  if (!COUNTER || device != &here) return 3;
  *millijoules = total += 1500;
  return 0;
}
int nvmlDeviceGetPowerUsage(void *device, unsigned int *milliwatts) {
  if (device != &here) return 2;
  *milliwatts = MILLIWATTS;
  return 0;
}
"""


@pytest.fixture
def library(tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")

    def build(*, init=0, counter=1, milliwatts=72000):
        (tmp_path / "nvml.c").write_text(SOURCE)
        path = tmp_path / f"lib{init}{counter}{milliwatts}.so"
        values = [f"-DINIT={init}", f"-DCOUNTER={counter}", f"-DMILLIWATTS={milliwatts}u"]
        subprocess.run([compiler, "-shared", "-fPIC", *values, "-o", path, tmp_path / "nvml.c"], check=True)
        return Host(tmp_path, {}, str(path))

    return build


def test_doctor_names_the_card_beside_the_machine(library):
    told = describe_sensors(library())
    assert told["power of the card"].startswith("NVIDIA ?[1mH100, the first graphics card with its memory")
    assert told["power"].startswith("none: ")
    assert "power of the card" not in describe_sensors(library(init=9))


def test_energy_where_the_card_counts_it(library):
    source = find_power(library(), "cuda").source
    assert (source.name, source.measures) == ("NVIDIA ?[1mH100", "energy")
    first = source.read()
    assert source.read() - first == pytest.approx(1.5)


def test_power_where_it_does_not(library):
    source = find_power(library(counter=0), "cuda").source
    assert (source.measures, source.read()) == ("power", 72.0)


def test_a_driver_that_does_not_answer(library):
    assert find_power(library(init=9), "cuda").reason == "nvmlInit_v2 of NVIDIA's management library answered 9"


def test_a_power_that_cannot_be(library):
    assert "which cannot be" in find_power(library(counter=0, milliwatts=4_000_000_000), "cuda").reason


def test_no_library(tmp_path):
    assert "no power sensor" in find_power(Host(tmp_path, {}, "libno-such-library.so.1"), "cuda").reason


def test_a_card_is_not_the_processor(library):
    assert find_power(library(), "cpu").source is None

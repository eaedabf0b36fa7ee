"""Ten recorded machines: which sensor each has, in which unit, and what is refused in plain words."""

import pytest

from fmedge.system.sensors.host import Host
from fmedge.system.sensors.source import SensorFailed
from fmedge.system.sensors.state import StateReader
from fmedge.system.sensors.table import SENSORS, find_power
from fmedge.system.topology import find_clusters
from fmedge.workflow.doctor import describe_sensors
from support.recorded_boards import (
    BOARDS,
    CPUFREQ,
    HWMON,
    INA3221,
    PMIC,
    RAPL,
    Board,
    chip,
    rapl,
    throttle_counters,
    zone,
)


@pytest.fixture(params=BOARDS)
def board(request):
    return BOARDS[request.param]


def test_the_sensor_of_power(board, tmp_path):
    search = find_power(board.write(tmp_path))
    if not board.sensor:
        assert search.source is None
        assert board.refused in search.reason
        return
    assert search.source.name == board.sensor
    assert search.reason == ""
    assert search.source.covers
    assert search.source.measures == ("energy" if board.watts is None else "power")
    assert 0 < search.source.resolution < 0.1
    assert 0.5 <= search.source.rate_hz <= 100
    if board.watts is not None:
        assert search.source.read() == pytest.approx(board.watts, rel=1e-9)


def test_doctor_tells_of_it(board, tmp_path):
    told = describe_sensors(board.write(tmp_path))
    assert told["power"].startswith(f"{board.sensor}, " if board.sensor else "none: ")
    assert board.sensor or board.refused in told["power"]
    if board.thermometer:
        assert told["temperature"].startswith(f"{board.thermometer}, {board.celsius:.0f} ")
    else:
        assert told["temperature"] == "none"
    assert all(words and words.isprintable() for words in told.values())


def test_the_state(board, tmp_path):
    reader = StateReader(board.write(tmp_path))
    state = reader.read()
    assert reader.thermometer == board.thermometer
    assert state.temperature_c == board.celsius
    assert state.clock_mhz == (board.megahertz and pytest.approx(board.megahertz))
    assert reader.signs == board.signs
    assert state.flags == board.flags
    assert tuple(reader.limits) == board.limits


def test_big_and_little(board, tmp_path):
    clusters = find_clusters(board.write(tmp_path))
    assert clusters[0].cpus[0] == (board.big[0] if board.big else 0)
    if board.big:
        assert (clusters[0].cpus, clusters[-1].cpus) == (board.big, board.little)
    else:
        assert len(clusters) == 1


def test_this_machine_says_what_it_has():
    search = find_power()
    assert (search.source is None) == bool(search.reason)
    reader = StateReader()
    state = reader.read()
    assert state.temperature_c is None or -40 < state.temperature_c < 150
    assert bool(reader.thermometer) == (state.temperature_c is not None)


def test_the_table_names_each_kind_once():
    assert len({kind.name for kind in SENSORS}) == len(SENSORS)
    assert all(kind.words for kind in SENSORS)


# ---- Counters ------------------------------------------------------------------------------------------


def energy(host, *values, field=f"{RAPL}/intel-rapl:0/energy_uj"):
    """Return what the source says after each value of the counter."""
    source = find_power(host).source
    found = []
    for value in values:
        (host.root / field).write_text(str(value))
        found.append(source.read())
    return found


def test_joules_of_packages_and_memory_are_added_and_parts_of_a_package_are_not(tmp_path):
    host = BOARDS["server"].write(tmp_path)
    assert energy(host, 9_000_500_000, 9_001_000_000) == pytest.approx([0.5, 1.0])
    (tmp_path / f"{RAPL}/intel-rapl:2/energy_uj").write_text("500250000")
    assert energy(host, 9_001_000_000)[0] == 0
    n100 = BOARDS["Intel N100"].write(tmp_path / "n100")
    (tmp_path / f"n100/{RAPL}/intel-rapl:1/energy_uj").write_text("0")  # core: it is in package-0
    assert energy(n100, 124_000_000)[0] == pytest.approx(1.0)


def test_a_counter_starts_again_at_zero(tmp_path):
    host = Board(rapl(package_0=(262_143_000_000, 262_143_328_850))).write(tmp_path)
    assert energy(host, 262_143_300_000, 171_150) == pytest.approx([0.3, 0.5])


@pytest.mark.parametrize(
    ("after", "reason"),
    [(262_000_000_000, "cannot be"), ("-5", "cannot be read"), ("nan", "cannot be read"), ("1e400", "cannot be read")],
)
def test_a_counter_that_cannot_be_is_refused(tmp_path, after, reason):
    host = Board(rapl(package_0=(262_143_000_000, 262_143_328_850))).write(tmp_path)
    with pytest.raises(SensorFailed, match=reason):
        energy(host, 262_143_300_000, after)


def test_a_counter_without_a_range_may_not_run_backwards(tmp_path):
    host = Board(rapl(package_0=(5_000_000, 0))).write(tmp_path)
    with pytest.raises(SensorFailed, match="ran backwards by 1 J"):
        energy(host, 4_000_000)


def test_counters_for_root_alone_are_refused_plainly(tmp_path, monkeypatch):
    host = BOARDS["Intel N100"].write(tmp_path)
    monkeypatch.setattr(Host, "refusal", lambda self, path: "Permission denied")
    assert find_power(host).reason == (
        "the processor's energy counters are not readable: Permission denied; root may read them"
    )


# ---- What cannot be ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("milliamperes", "words"),
    [
        ("-100", "reads -0.4968 W"),
        ("3000000000", "W, which cannot be"),
        ("nan", "cannot be read"),
        ("inf", "cannot be read"),
        ("", "cannot be read"),
        ("1e5", "cannot be read"),
    ],
)
def test_a_power_that_cannot_be_is_refused(tmp_path, milliamperes, words):
    search = find_power(Board(chip(1, "ina3221", **INA3221 | {"curr1_input": milliamperes})).write(tmp_path))
    assert search.source is None
    assert words in search.reason


def test_a_rail_without_load_may_lie_a_little_below_zero(tmp_path):
    rails = {key: value for key, value in INA3221.items() if "1_" not in key}  # without VDD_IN all rails are added
    host = Board(chip(1, "ina3221", **rails | {"curr3_input": -2})).write(tmp_path)
    source = find_power(host).source
    assert source.name == "ina3221 VDD_CPU_GPU_CV + VDD_SOC"
    assert source.covers.startswith("the sum of these rails")
    assert source.read() == pytest.approx(4.968 * 0.240 - 4.968 * 0.002)


def test_a_channel_that_is_not_connected_is_left_out(tmp_path):
    fields = INA3221 | {"in1_label": "NC", "in3_enable": 0}
    assert find_power(Board(chip(1, "ina3221", **fields)).write(tmp_path)).source.name == "ina3221 VDD_CPU_GPU_CV"


def test_the_step_follows_from_the_shunt(tmp_path):
    source = find_power(BOARDS["Jetson Orin Nano"].write(tmp_path)).source
    assert source.resolution == pytest.approx(4.968 * 40e-6 / 5e-3 + 1.0 * 8e-3)


def test_a_sensor_that_vanishes_says_so(tmp_path):
    host = BOARDS["Jetson Orin Nano"].write(tmp_path)
    source = find_power(host).source
    (tmp_path / f"{HWMON}/hwmon1/curr1_input").unlink()
    with pytest.raises(SensorFailed, match="rail VDD_IN cannot be read"):
        source.read()


def test_chips_of_other_parts_are_named_and_not_used(tmp_path):
    search = find_power(Board(chip(0, "amdgpu", power1_average=9_000_000)).write(tmp_path))
    assert search.reason == "chip 'amdgpu' is not known to measure the whole machine"


def test_a_power_meter_of_the_whole_machine(tmp_path):
    fields = {"power1_average": 231_000_000, "power1_average_interval": 1000}
    source = find_power(Board(chip(0, "power_meter", **fields)).write(tmp_path)).source
    assert (source.read(), source.rate_hz) == (231.0, 1.0)


def test_a_battery_that_is_charged_tells_nothing(tmp_path):
    files = BOARDS["laptop"].files | {"sys/class/power_supply/BAT0/status": "Charging"}
    reason = find_power(Board(files).write(tmp_path)).reason
    assert "battery BAT0 is not being discharged (Charging); unplug the charger to measure" in reason


def test_the_charger_is_plugged_in_meanwhile(tmp_path):
    host = BOARDS["laptop"].write(tmp_path)
    source = find_power(host).source
    (tmp_path / "sys/class/power_supply/BAT0/status").write_text("Charging")
    with pytest.raises(SensorFailed, match="no longer"):
        source.read()


@pytest.mark.parametrize(
    ("line", "watts"),
    [
        ("RAM 1/2MB VDD_IN 4940mW/4900mW VDD_CPU_GPU_CV 482mW/482mW VDD_SOC 1449mW/1449mW", 4.94),
        ("thermal@40C POM_5V_IN 1750/1628 POM_5V_GPU 0/0 POM_5V_CPU 366/406", 1.75),
        ("VDD_GPU_SOC 3150mW/2971mW VDD_CPU_CV 14312mW/12415mW VIN_SYS_5V0 4968mW/5048mW", 3.15 + 14.312 + 4.968),
    ],
)
def test_the_text_of_tegrastats(tmp_path, line, watts):
    source = find_power(Host(tmp_path, {"tegrastats --interval 100": line}, "")).source
    assert source.kind == "tegrastats"
    assert source.read() == pytest.approx(watts)


@pytest.mark.parametrize(
    "text",
    ["", "VCHI initialization failed", "VDD_CORE_A current(7)=2A", PMIC.replace("=", "=-"), PMIC.replace("A\n", "V\n")],
)
def test_what_is_no_answer_of_a_power_chip(tmp_path, text):
    files = BOARDS["Raspberry Pi 5"].files
    assert "gave nothing" in find_power(Board(files, {"vcgencmd pmic_read_adc": text}).write(tmp_path)).reason


@pytest.mark.parametrize("millidegrees", ["-274000", "999000", "nan", "", "x"])
def test_a_temperature_that_cannot_be_is_none(tmp_path, millidegrees):
    reader = StateReader(Board(zone(0, "cpu-thermal", millidegrees)).write(tmp_path))
    assert (reader.thermometer, reader.read().temperature_c) == ("", None)


def test_texts_of_a_machine_stay_data(tmp_path):
    hostile = "\x1b[31mVDD\x07" + "x" * 9000
    host = Board(chip(1, "ina3221", **INA3221 | {"in1_label": hostile, "in2_label": "a\u202eb"})).write(tmp_path)
    name = find_power(host).source.name
    assert name.isprintable()
    assert len(name) < 200
    assert "?[31mVDD?" in name


# ---- Throttling ----------------------------------------------------------------------------------------


def rewrite(host, path, value):
    (host.root / path).write_text(str(value))


def test_bits_of_what_has_happened_meanwhile(tmp_path):
    tools = dict(BOARDS["Raspberry Pi 5"].tools) | {"vcgencmd get_throttled": "throttled=0x20000"}
    reader = StateReader(Board({}, tools).write(tmp_path))
    host = Host(tmp_path, tools, "")
    assert reader.read().flags == ()  # the clock was capped before
    tools["vcgencmd get_throttled"] = "throttled=0x70000"
    assert host.run("vcgencmd", "get_throttled")
    assert reader.read().flags == ("under-voltage", "throttled by the firmware")
    assert reader.read().flags == ()


def test_counters_that_rise_and_clocks_that_fall(tmp_path):
    host = BOARDS["server"].write(tmp_path)
    reader = StateReader(host)
    assert reader.read().flags == ()
    for name, value in throttle_counters(8).items():
        rewrite(host, name, value)
    assert reader.read().flags == ("slowed down for heat",)
    assert reader.read().flags == ()
    rewrite(host, f"{CPUFREQ}/policy0/scaling_max_freq", 1200000)
    assert reader.read().flags == ("highest clock lowered",)


def test_alarms_are_named_by_their_chip(tmp_path):
    host = BOARDS["Jetson Orin Nano"].write(tmp_path)
    reader = StateReader(host)
    rewrite(host, f"{HWMON}/hwmon1/curr1_max_alarm", 1)
    assert reader.read().flags == ("alarm of ina3221",)


def test_the_clock_of_chosen_cores_alone(tmp_path):
    host = BOARDS["RK3588"].write(tmp_path)
    assert StateReader(host, (0, 1)).read().clock_mhz == 1800
    assert StateReader(host, (4, 5)).read().clock_mhz == 2256

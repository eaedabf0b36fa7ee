"""Machines as their /sys, /proc and tools show them: small trees that are written from a table.

Values and units are of the kind that public documentation and reports show; each machine names its source. What the
expected figures are stands beside the values that they follow from.
"""

from dataclasses import dataclass, field
from pathlib import Path

from fmedge.system.sensors.host import Host

CPUFREQ = "sys/devices/system/cpu/cpufreq"
HWMON = "sys/class/hwmon"
RAPL = "sys/class/powercap"
THERMAL = "sys/class/thermal"


@dataclass(frozen=True)
class Board:
    """A machine, and what is to be found on it."""

    files: dict[str, str | bytes]
    tools: dict[str, str] = field(default_factory=dict)
    sensor: str = ""
    watts: float | None = None  # of a sensor of power
    refused: str = ""  # a part of the reason, where there is no sensor
    thermometer: str = ""
    celsius: float | None = None
    megahertz: float | None = None
    big: tuple[int, ...] = ()
    little: tuple[int, ...] = ()
    signs: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()

    def write(self, folder: Path) -> Host:
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode() + b"\n")
        return Host(folder, self.tools, "")


def cores(*groups, governor="ondemand"):
    """Cores in groups of (numbers, kHz now, kHz limit, kHz most, capacity), each group with its own policy."""
    found = {}
    for numbers, now, limit, most, capacity in groups:
        policy = {
            "scaling_cur_freq": now,
            "scaling_max_freq": limit,
            "cpuinfo_max_freq": most,
            "scaling_governor": governor,
            "scaling_available_governors": "conservative ondemand userspace powersave performance schedutil",
        }
        for name, value in policy.items():
            found[f"{CPUFREQ}/policy{numbers[0]}/{name}"] = str(value)
            for number in numbers:
                found[f"sys/devices/system/cpu/cpu{number}/cpufreq/{name}"] = str(value)
        for number in numbers:
            if capacity:
                found[f"sys/devices/system/cpu/cpu{number}/cpu_capacity"] = str(capacity)
    return found


def zone(number, name, millidegrees):
    return {f"{THERMAL}/thermal_zone{number}/type": name, f"{THERMAL}/thermal_zone{number}/temp": str(millidegrees)}


def chip(number, name, **files):
    return {f"{HWMON}/hwmon{number}/{key}": str(value) for key, value in {"name": name, **files}.items()}


PMIC = """ 3V7_WL_SW_A current(0)=0.00195186A
   3V3_SYS_A current(1)=0.12687090A
   1V8_SYS_A current(2)=0.18835450A
  DDR_VDD2_A current(3)=0.02147046A
  DDR_VDDQ_A current(4)=0.00000000A
   1V1_SYS_A current(5)=0.17957110A
    0V8_SW_A current(6)=0.25959740A
  VDD_CORE_A current(7)=2.00000000A
   3V3_DAC_A current(17)=0.00000000A
   3V3_ADC_A current(18)=0.00000000A
   0V8_AON_A current(16)=0.00293040A
      HDMI_A current(22)=0.02551890A
 3V7_WL_SW_V volt(8)=3.70720000V
   3V3_SYS_V volt(9)=3.32580900V
   1V8_SYS_V volt(10)=1.80415000V
  DDR_VDD2_V volt(11)=1.11135400V
  DDR_VDDQ_V volt(12)=0.60329610V
   1V1_SYS_V volt(13)=1.11282000V
    0V8_SW_V volt(14)=0.80512740V
  VDD_CORE_V volt(15)=0.80000000V
   3V3_DAC_V volt(20)=3.32142500V
   3V3_ADC_V volt(21)=3.32966700V
   0V8_AON_V volt(19)=0.80175740V
      HDMI_V volt(23)=5.11746000V
     EXT5V_V volt(24)=5.14158000V
      BATT_V volt(25)=3.28033900V"""
"""Twelve rails with both figures; EXT5V and BATT have a voltage alone. Names, numbers and form as in the parsers and
recorded outputs of several public projects."""

PMIC_W = (
    0.00195186 * 3.7072
    + 0.1268709 * 3.325809
    + 0.1883545 * 1.80415
    + 0.02147046 * 1.111354
    + 0.1795711 * 1.11282
    + 0.2595974 * 0.8051274
    + 2.0 * 0.8
    + 0.0029304 * 0.8017574
    + 0.0255189 * 5.11746
)

INA3221 = {
    "in1_label": "VDD_IN",
    "in1_input": 4968,
    "curr1_input": 1000,
    "shunt1_resistor": 5000,
    "in2_label": "VDD_CPU_GPU_CV",
    "in2_input": 4968,
    "curr2_input": 240,
    "shunt2_resistor": 5000,
    "in3_label": "VDD_SOC",
    "in3_input": 4968,
    "curr3_input": 304,
    "shunt3_resistor": 5000,
    "curr1_crit_alarm": 0,
    "curr1_max_alarm": 0,
}
"""Labels and shunts of the device tree of Jetson Orin Nano (tegra234-p3767.dtsi); files of
Documentation/hwmon/ina3221.rst."""


def rapl(**joules):
    """Packages and their parts: ``package_0=(energy_uj, range_uj)``."""
    found = {}
    for place, (name, (energy, most)) in enumerate(joules.items()):
        folder = f"{RAPL}/intel-rapl:{place}"
        found |= {
            f"{folder}/name": name.replace("_", "-"),
            f"{folder}/energy_uj": str(energy),
            f"{folder}/max_energy_range_uj": str(most),
        }
    return found


def throttle_counters(count, number=0):
    folder = f"sys/devices/system/cpu/cpu{number}/thermal_throttle"
    return {f"{folder}/core_throttle_count": str(count), f"{folder}/package_throttle_count": str(count)}


BOARDS = {
    # raspberrypi.com, vcgencmd: get_throttled; a weak supply since the start, and right now.
    "Raspberry Pi 3": Board(
        {
            "proc/device-tree/model": b"Raspberry Pi 3 Model B Plus Rev 1.3\0",
            **cores((range(4), 600000, 1400000, 1400000, None)),
            **zone(0, "cpu-thermal", 62828),
            **chip(0, "cpu_thermal", temp1_input=62828),
            **chip(1, "rpi_volt", in0_lcrit_alarm=1),
        },
        {"vcgencmd get_throttled": "throttled=0x50005", "vcgencmd measure_clock arm": "frequency(48)=600117184"},
        refused="cannot measure its current",
        thermometer="cpu-thermal",
        celsius=62.828,
        megahertz=600.117184,
        signs=("get_throttled", "hwmon alarms", "clock limits"),
        flags=("under-voltage", "throttled by the firmware"),
        limits=("since the start: under-voltage", "since the start: throttled by the firmware"),
    ),
    # The same, with the bits in /sys as the kernel of Raspberry Pi OS has them; nothing is wrong.
    "Raspberry Pi 4": Board(
        {
            "proc/device-tree/model": b"Raspberry Pi 4 Model B Rev 1.4\0",
            **cores((range(4), 1500000, 1500000, 1500000, None)),
            **zone(0, "cpu-thermal", 48199),
            **chip(1, "rpi_volt", in0_lcrit_alarm=0),
            "sys/devices/platform/soc/soc:firmware/get_throttled": "0",
        },
        {"vcgencmd measure_clock arm": "frequency(48)=1500345728", "vcgencmd pmic_read_adc": "error=1"},
        refused="cannot measure its current",
        thermometer="cpu-thermal",
        celsius=48.199,
        megahertz=1500.345728,
        signs=("get_throttled", "hwmon alarms", "clock limits"),
    ),
    # raspberrypi.com, "Raspberry Pi 5": a supply of 3 A instead of 5; the soft limit of temperature was reached once.
    "Raspberry Pi 5": Board(
        {
            "proc/device-tree/model": b"Raspberry Pi 5 Model B Rev 1.0\0",
            "proc/device-tree/chosen/power/max_current": (3000).to_bytes(4, "big"),
            **cores((range(4), 2400000, 2400000, 2400000, None)),
            **zone(0, "cpu-thermal", 71500),
            **chip(0, "cpu_thermal", temp1_input=71500),
            **chip(1, "rp1_adc", in1_input=1452, in2_input=2519, temp1_input=61244),
            **chip(2, "rpi_volt", in0_lcrit_alarm=0),
        },
        {
            "vcgencmd pmic_read_adc": PMIC,
            "vcgencmd get_throttled": "throttled=0x80008",
            "vcgencmd measure_clock arm": "frequency(0)=2400033792",
        },
        sensor="pmic_read_adc",
        watts=PMIC_W,
        thermometer="cpu-thermal",
        celsius=71.5,
        megahertz=2400.033792,
        signs=("get_throttled", "hwmon alarms", "clock limits"),
        flags=("soft temperature limit",),
        limits=(
            "since the start: soft temperature limit",
            "the supply offers 3000 mA, a Raspberry Pi 5 wants 5000",
        ),
    ),
    # NVIDIA, L4T 32 Developer Guide, "Power Management for Jetson Nano": POM_5V_IN in mW, by the driver ina3221x.
    "Jetson Nano": Board(
        {
            "proc/device-tree/model": b"NVIDIA Jetson Nano Developer Kit\0",
            **{
                f"sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/{name}": value
                for name, value in {
                    "rail_name_0": "POM_5V_IN",
                    "in_power0_input": "2748",
                    "rail_name_1": "POM_5V_GPU",
                    "in_power1_input": "0",
                    "rail_name_2": "POM_5V_CPU",
                    "in_power2_input": "1056",
                }.items()
            },
            **cores((range(4), 921600, 921600, 1479000, None), governor="schedutil"),
            **zone(0, "AO-therm", 45000),
            **zone(1, "CPU-therm", 36500),
            **zone(2, "GPU-therm", 34500),
            **zone(4, "PMIC-Die", 100000),
        },
        sensor="ina3221x POM_5V_IN",
        watts=2.748,
        thermometer="CPU-therm",
        celsius=36.5,
        megahertz=921.6,
        signs=("clock limits",),
        limits=("policy0: clock limited to 922 of 1479 MHz",),
    ),
    # NVIDIA, Jetson Linux Developer Guide r36, "Jetson Orin Nano Series": VDD_IN in mV and mA under hwmon.
    "Jetson Orin Nano": Board(
        {
            "proc/device-tree/model": b"NVIDIA Jetson Orin Nano Developer Kit\0",
            **chip(1, "ina3221", **INA3221),
            **cores((range(4), 1510400, 1510400, 1510400, None), ((4, 5), 1510400, 1510400, 1510400, None)),
            **zone(0, "cpu-thermal", 49281),
            **zone(1, "gpu-thermal", 47500),
            **zone(8, "tj-thermal", 50218),
            f"{THERMAL}/cooling_device1/type": "cpufreq-cpu0",
            f"{THERMAL}/cooling_device1/cur_state": "0",
        },
        {
            "tegrastats --interval 100": "RAM 2448/7620MB (lfb 4x4MB) CPU [2%@729,0%@729] GR3D_FREQ 0% cpu@49.281C "
            "VDD_IN 4940mW/4940mW VDD_CPU_GPU_CV 482mW/482mW VDD_SOC 1449mW/1449mW"
        },
        sensor="ina3221 VDD_IN",
        watts=4.968,
        thermometer="cpu-thermal and tj-thermal",
        celsius=50.218,
        megahertz=1510.4,
        signs=("hwmon alarms", "cooling devices", "clock limits"),
    ),
    # rk3588.dtsi: cpu_capacity 530 of the A55, 1024 of the A76; zones of the board's device tree. No power sensor.
    "RK3588": Board(
        {
            "proc/device-tree/model": b"Radxa ROCK 5B\0",
            **cores(
                (range(4), 1800000, 1800000, 1800000, 530),
                ((4, 5), 2256000, 2256000, 2256000, 1024),
                ((6, 7), 2304000, 2304000, 2304000, 1024),
                governor="schedutil",
            ),
            **zone(0, "package-thermal", 82230),
            **zone(1, "bigcore0-thermal", 84076),
            **zone(2, "bigcore2-thermal", 83153),
            **zone(3, "littlecore-thermal", 82230),
            **zone(4, "gpu-thermal", 99000),
            f"{THERMAL}/cooling_device0/type": "thermal-cpufreq-0",
            f"{THERMAL}/cooling_device0/cur_state": "0",
            f"{THERMAL}/cooling_device1/type": "thermal-cpufreq-1",
            f"{THERMAL}/cooling_device1/cur_state": "3",
            f"{THERMAL}/cooling_device3/type": "pwm-fan",
            f"{THERMAL}/cooling_device3/cur_state": "4",
        },
        refused="no power sensor",
        thermometer="bigcore0-thermal and bigcore2-thermal and littlecore-thermal",
        celsius=84.076,
        megahertz=(4 * 1800 + 2 * 2256 + 2 * 2304) / 8,
        big=(4, 5, 6, 7),
        little=(0, 1, 2, 3),
        signs=("cooling devices", "clock limits"),
        flags=("clock lowered to cool",),
    ),
    # Documentation/power/powercap/powercap.rst: package-0 with core and uncore; the N100's four cores are alike.
    "Intel N100": Board(
        {
            "sys/class/dmi/id/product_name": "N100 mini PC",
            **rapl(
                package_0=(123_000_000, 262_143_328_850),
                core=(60_000_000, 262_143_328_850),
                uncore=(1_000_000, 262_143_328_850),
            ),
            **cores((range(4), 2900000, 3400000, 3400000, None), governor="powersave"),
            **zone(0, "acpitz", 27800),
            **zone(1, "x86_pkg_temp", 58000),
            **chip(2, "coretemp", temp1_input=58000, temp1_label="Package id 0", temp1_crit_alarm=0),
            **throttle_counters(0),
        },
        sensor="RAPL package-0",
        thermometer="x86_pkg_temp",
        celsius=58.0,
        megahertz=2900.0,
        signs=("thermal_throttle", "hwmon alarms", "clock limits"),
    ),
    # sysfs-class-power: microwatts; a hybrid processor whose efficient cores have a lower clock; a mouse's battery.
    "laptop": Board(
        {
            "sys/class/power_supply/AC/type": "Mains",
            "sys/class/power_supply/BAT0/type": "Battery",
            "sys/class/power_supply/BAT0/status": "Discharging",
            "sys/class/power_supply/BAT0/current_now": "1250000",
            "sys/class/power_supply/BAT0/voltage_now": "11400000",
            "sys/class/power_supply/hidpp_battery_0/type": "Battery",
            "sys/class/power_supply/hidpp_battery_0/scope": "Device",
            "sys/class/power_supply/hidpp_battery_0/status": "Discharging",
            **cores((range(4), 2000000, 4700000, 4700000, None), ((4, 5, 6, 7), 1500000, 3500000, 3500000, None)),
            **chip(5, "k10temp", temp1_input=66125),
            **chip(6, "amdgpu", power1_average=9000000, temp1_input=55000),
            **zone(0, "acpitz", 20000),
        },
        sensor="battery BAT0",
        watts=14.25,
        thermometer="k10temp",
        celsius=66.125,
        megahertz=1750.0,
        big=(0, 1, 2, 3),
        little=(4, 5, 6, 7),
        signs=("clock limits",),
    ),
    # Two packages with memory, as powercap.rst shows servers; 64 GiJ of range.
    "server": Board(
        {
            **rapl(
                package_0=(9_000_000_000, 65_532_610_987),
                package_1=(8_000_000_000, 65_532_610_987),
                dram=(500_000_000, 65_712_999_613),
            ),
            **cores((range(8), 2600000, 3100000, 3100000, None), governor="performance"),
            **zone(0, "x86_pkg_temp", 51000),
            **zone(1, "x86_pkg_temp", 54000),
            **throttle_counters(7),
        },
        sensor="RAPL package-0 + package-1 + dram",
        thermometer="x86_pkg_temp",
        celsius=54.0,
        megahertz=2600.0,
        signs=("thermal_throttle", "clock limits"),
    ),
    # A virtual machine.
    "nothing": Board({"sys/devices/system/cpu/cpu0/topology/core_id": "0"}, refused="no power sensor"),
}
"""The ten machines, by their names."""

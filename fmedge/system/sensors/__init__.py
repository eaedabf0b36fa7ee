"""Read what a machine tells about itself while it computes: power, energy, temperatures, clocks and throttling.

One module per kind of sensor; :mod:`fmedge.system.sensors.table` lists them.
"""

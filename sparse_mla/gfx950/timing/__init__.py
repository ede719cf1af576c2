"""The timing model: how long traced launches take on a device, and how far its rules agree with recordings of a real one."""

from sparse_mla.gfx950.timing.device import Constant, Device, device
from sparse_mla.gfx950.timing.model import CAUSES, Occupancy, Timed, Timing, occupancy, simulate

__all__ = ["CAUSES", "Constant", "Device", "Occupancy", "Timed", "Timing", "device", "occupancy", "simulate"]

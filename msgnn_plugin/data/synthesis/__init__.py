"""Rain made to order on clean photographs: streaks, veiling haze, drops on the lens, by day and by night."""

from msgnn_plugin.data.synthesis.convolved import add_streaks
from msgnn_plugin.data.synthesis.making import MadeRain, synthesize
from msgnn_plugin.data.synthesis.presets import PRESETS, Preset, find_preset
from msgnn_plugin.data.synthesis.streaks import Streaks, draw_streaks

__all__ = ["PRESETS", "MadeRain", "Preset", "Streaks", "add_streaks", "draw_streaks", "find_preset", "synthesize"]

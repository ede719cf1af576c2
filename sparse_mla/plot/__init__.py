"""Figures for frames and results: one style, and a text twin for every picture."""

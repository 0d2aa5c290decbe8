"""Figures: pure functions from frames to plotly, the same for the live view, a report and an export."""

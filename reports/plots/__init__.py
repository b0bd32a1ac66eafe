"""Plots: of classes, layers, threads and studies. They need matplotlib."""

"""Prints the results of predict, profile and visualize."""

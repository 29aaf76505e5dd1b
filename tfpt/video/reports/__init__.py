"""Predictions, profiles and pictures as text for people."""

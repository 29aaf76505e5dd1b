"""What can be said of mappings and files without converting: lint, inspection, comparison."""

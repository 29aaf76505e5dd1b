"""Writers of weights, one format per file."""

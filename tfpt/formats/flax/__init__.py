"""Reader of the files of Flax."""

"""Data for training: clips of one speaking face with sound and lip shapes, in shards, split by speaker."""

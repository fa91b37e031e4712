"""A stand-in for CockroachDB, for tests/cluster/chart; it shows how the chart wires a database up, nothing else."""

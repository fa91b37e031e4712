"""What all tests share: the fixtures of the test cluster (see tests/cluster/README.md)."""

pytest_plugins = ["cluster.fixtures"]

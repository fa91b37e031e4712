"""What all tests share: the fixtures of the service (support/fixtures.py) and of the test cluster (tools/cluster/README.md)."""

pytest_plugins = ["cluster.fixtures", "support.fixtures"]

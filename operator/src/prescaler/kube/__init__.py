"""The cluster: the few fields that are read, the requests, the leader's Lease, and what was seen in one pass."""

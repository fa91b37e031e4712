"""The product on this machine, started one way: a PostgreSQL, the service as a process, a free port, a wait for a state.

Tests, the load lab, the benchmark and the test cluster call it. It knows the product's command line and environment variables, and
nothing of what is done with what it starts.
"""

"""kind as a tester runs it, where Docker is not installed and no registry is reached.

`make kind-offline` builds from sources and Debian's packages what kind and Docker would pull, and then runs the very targets
of the README (`make CLUSTER=kind kind-up install e2e load-cluster kind-down`) beside a Docker daemon of its own. The
daemon, the nodes and the database live in network, mount and process namespaces of their own: nothing of them is left
when the command ends, and nothing that runs on the machine sees them.
"""

// The container that holds a pod's namespaces.
module energy/tests/cluster/tools/pause

go 1.24.0

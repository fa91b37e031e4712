// A workload that takes its time to start.
module energy/tools/cluster/modules/slow-start

go 1.24.0

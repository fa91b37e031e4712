"""Which minimum a schedule asks for at any instant: calendar days, windows, the steps around them.

`localtime` knows clocks, `schedule` says what is declared, `occurrences` when windows are open, `planner` what that asks
for. The standard library only: nothing here knows of Kubernetes, and the time is an argument.
"""

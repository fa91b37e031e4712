"""What KEDA's cron scaler and the operator each do with the same window, seen on one cluster: `make compare-keda`.

`calendar` asks both what they would do at chosen dates, `race` has both scale for a window that opens in minutes, and
`page` and `picture` write docs/comparison from the figures in docs/measured/keda.json.
"""

"""`make bench`: measures, in one run on one machine, what the service reaches and what bounds it; nothing here is a timed test."""

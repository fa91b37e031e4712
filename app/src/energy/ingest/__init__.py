"""From a decoded reading to its outcome: the bounded queue, the lanes, and the commit with its retries."""

// Command slow-start is a workload that needs a while to start, as real ones do: after the given time (20s) it answers
// every request on port 8000, and is Ready.
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	took, err := time.ParseDuration(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "slow-start:", err)
		os.Exit(2)
	}
	time.Sleep(took)
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":8000", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	os.Exit(1)
}

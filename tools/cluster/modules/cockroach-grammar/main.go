// Command cockroach-grammar says which SQL texts CockroachDB cannot parse.
//
// It reads a JSON array of texts from standard input and writes a JSON array of the same length: for each text the
// parser's objection, or an empty string. A text may hold several statements.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/cockroachdb/cockroachdb-parser/pkg/sql/parser"
)

func main() {
	var texts []string
	if err := json.NewDecoder(os.Stdin).Decode(&texts); err != nil {
		fail(err)
	}
	objections := make([]string, len(texts))
	for i, text := range texts {
		if _, err := parser.Parse(text); err != nil {
			objections[i] = err.Error()
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(objections); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "cockroach-grammar:", err)
	os.Exit(1)
}

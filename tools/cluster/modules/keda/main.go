// Command keda-cron asks KEDA's own cron scaler, unchanged, what it would answer at given instants.
//
// The scaler reads the clock itself. So it runs inside testing/synctest, whose clock stands until everybody sleeps and
// then jumps: a year passes in seconds, and nothing of KEDA is replaced. Standard input is a JSON list of questions,
// standard output the list of answers: the instants at which the number of replicas that the scaler asks for changes.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kedacore/keda/v2/pkg/scalers"
	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
)

type question struct {
	Trigger map[string]string `json:"trigger"` // the metadata of a trigger, as in a ScaledObject
	From    time.Time         `json:"from"`
	Until   time.Time         `json:"until"`
	StepS   int               `json:"step_s"` // how often the scaler is asked
}

type change struct {
	At       time.Time `json:"at"`
	Replicas int64     `json:"replicas"`
}

type answer struct {
	Refused string   `json:"refused,omitempty"` // what the scaler says of a trigger that it doesn't accept
	Changes []change `json:"changes"`           // the first one is the state at From
}

func main() {
	var questions []question
	if err := json.NewDecoder(os.Stdin).Decode(&questions); err != nil {
		fmt.Fprintln(os.Stderr, "keda-cron: standard input:", err)
		os.Exit(2)
	}
	output := os.Stdout
	os.Stdout = os.Stderr // where package testing says that it passed
	everything := func(string, string) (bool, error) { return true, nil }
	testing.Main(everything, []testing.InternalTest{{Name: "ask", F: func(t *testing.T) { // a bubble belongs to a test
		answers := make([]answer, len(questions))
		for i, question := range questions {
			synctest.Test(t, func(t *testing.T) { answers[i] = ask(t, question) })
		}
		if err := json.NewEncoder(output).Encode(answers); err != nil {
			t.Fatal("keda-cron: standard output:", err)
		}
	}}}, nil, nil)
}

func ask(t *testing.T, q question) answer {
	scaler, err := scalers.NewCronScaler(&scalersconfig.ScalerConfig{TriggerMetadata: q.Trigger})
	if err != nil {
		return answer{Refused: err.Error()}
	}
	defer scaler.Close(t.Context())
	time.Sleep(time.Until(q.From))
	var seen []change
	for !time.Now().After(q.Until) {
		if replicas := replicasNow(t.Context(), t, scaler); len(seen) == 0 || replicas != seen[len(seen)-1].Replicas {
			seen = append(seen, change{At: time.Now().UTC(), Replicas: replicas})
		}
		time.Sleep(time.Duration(q.StepS) * time.Second)
	}
	return answer{Changes: seen}
}

func replicasNow(ctx context.Context, t *testing.T, scaler scalers.Scaler) int64 {
	metrics, _, err := scaler.GetMetricsAndActivity(ctx, "cron")
	if err != nil {
		t.Fatal(err)
	}
	return metrics[0].Value.Value()
}

package telemetry_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"granary/telemetry"
)

// Series are there before anything has happened, and count what is told.
func TestTasks(t *testing.T) {
	tasks := telemetry.NewTasks([]string{"check", "blob_gc"}, []string{"done", "failed"}, []string{"completed"})
	tasks.Began("check", false)
	tasks.Began("check", true)
	tasks.Began("blob_gc", false)
	tasks.Ended("check", "done", time.Second)
	tasks.Over("check", "completed", time.Minute)
	registry := prometheus.NewRegistry()
	registry.MustRegister(tasks)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{
		"granary_task_shards_held blob_gc": 1, "granary_task_shards_held check": 1,
		"granary_task_shards_taken_over_total blob_gc": 0, "granary_task_shards_taken_over_total check": 1,
		"granary_task_shards_total blob_gc done": 0, "granary_task_shards_total blob_gc failed": 0,
		"granary_task_shards_total check done": 1, "granary_task_shards_total check failed": 0,
		"granary_tasks_total blob_gc completed": 0, "granary_tasks_total check completed": 1,
		"granary_task_duration_seconds blob_gc": 0, "granary_task_duration_seconds check": 1,
		"granary_task_shard_duration_seconds blob_gc": 0, "granary_task_shard_duration_seconds check": 1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("the series are %v, want %v", fmt.Sprint(got), want)
	}
}

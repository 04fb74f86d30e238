package otlp_test

import (
	"log/slog"
	"sync"
	"testing"
	"time"

	"granary/telemetry"
	"granary/telemetry/otlp"
	"granary/telemetry/otlptest"
)

func outlet(t *testing.T) *otlp.Outlet {
	t.Helper()
	o := otlp.NewOutlet(otlp.Config{ServiceName: "granary", Version: "1", Instance: "n", Exports: telemetry.NewExports(), Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

func plain(s *otlptest.Sink) otlp.Endpoint { return otlp.Endpoint{Address: s.Address} }

// eventually waits until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for began := time.Now(); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatalf("%s did not come", what)
		}
	}
}

// TestOutlet: what is made goes to the collector of its time, each signal to
// its own, and loggers that were made before hear of it.
func TestOutlet(t *testing.T) {
	first, second := otlptest.Start(t), otlptest.Start(t)
	o := outlet(t)
	log := slog.New(o.Handler("test", slog.LevelInfo)).With("who", "me").WithGroup("g")
	say := func(line string) { log.Info(line, "n", 1) }
	span := func(name string) {
		if tracer := o.Tracer(); tracer != nil {
			_, s := tracer.Start(t.Context(), name)
			s.End()
		}
	}
	lead := func(spans, logs otlp.Endpoint) {
		t.Helper()
		if err := o.Lead(spans, logs); err != nil {
			t.Fatal(err)
		}
	}
	if log.Enabled(t.Context(), slog.LevelError) || o.Tracer() != nil {
		t.Error("there is something to send before there is a collector")
	}
	say("nobody hears")
	lead(plain(first), otlp.Endpoint{})
	span("a")
	say("nobody hears either")
	lead(plain(first), plain(second))
	span("b")
	say("one")
	log.Debug("below the level")
	lead(plain(second), plain(first))
	span("c")
	say("two")
	lead(otlp.Endpoint{}, otlp.Endpoint{})
	span("nowhere")
	say("nowhere")
	// Leaving has sent what waited.
	eventually(t, "all spans and lines", func() bool {
		return len(first.Spans()) == 2 && len(second.Spans()) == 1 && len(first.Logs()) == 1 && len(second.Logs()) == 1
	})
	if l := second.Logs()[0]; l.Body != "one" || l.Attributes["who"] != "me" {
		t.Errorf("line %+v", l)
	}
	if l := first.Logs()[0]; l.Body != "two" || second.Spans()[0].Name != "c" {
		t.Errorf("line %+v, span %+v", l, second.Spans()[0])
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if err := o.Lead(plain(first), otlp.Endpoint{}); err == nil || o.Tracer() != nil {
		t.Error("led on after the end")
	}
}

// TestOutletWhileUsed is for the race detector, and shows that what is left
// leads on.
func TestOutletWhileUsed(t *testing.T) {
	sinks := []*otlptest.Sink{otlptest.Start(t), otlptest.Start(t)}
	o := outlet(t)
	if err := o.Lead(plain(sinks[0]), plain(sinks[0])); err != nil {
		t.Fatal(err)
	}
	log := slog.New(o.Handler("test", slog.LevelInfo))
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			for range 100 {
				log.Info("x")
				_, s := o.Tracer().Start(t.Context(), "x")
				s.End()
			}
		})
	}
	for i := range 10 {
		if err := o.Lead(plain(sinks[i%2]), plain(sinks[(i+1)%2])); err != nil {
			t.Error(err)
		}
	}
	users.Wait()
	if err := o.Lead(plain(sinks[0]), plain(sinks[0])); err != nil {
		t.Fatal(err)
	}
	log.Info("last")
	eventually(t, "the last line", func() bool {
		for _, l := range sinks[0].Logs() {
			if l.Body == "last" {
				return true
			}
		}
		return false
	})
}

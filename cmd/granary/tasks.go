package main

import (
	"time"

	"granary/cluster/task"
	"granary/gc/audit"
	"granary/gc/rebuild"
)

// openTasks prepares the work that nodes share.
func (n *node) openTasks() (err error) {
	n.tasks, err = task.New(task.Config{
		KV: n.kv, Members: n.member, Kinds: n.kinds(), Schedule: n.periodic(), Now: wallClock, Log: n.log,
		Retention: func() time.Duration { return time.Duration(n.registry.Settings().TaskRetention) * time.Second },
	})
	return err
}

// kinds lists every kind of task.
func (n *node) kinds() []task.Kind {
	return []task.Kind{
		audit.New(audit.Config{
			KV: n.kv, Registry: n.registry, Store: n.repos.Store, Records: n.records, Refs: n.repos.Refs, Remove: n.repos.RemoveRecord,
			Now: wallClock, Rate: n.config.AuditRate,
		}),
		&rebuild.Kind{Registry: n.registry, Records: n.records, Now: wallClock},
	}
}

// periodic lists what is started without being asked for.
func (n *node) periodic() []task.Periodic {
	return nil
}

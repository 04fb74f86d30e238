package main

import (
	"time"

	"granary/cluster/task"
)

// openTasks prepares the work that nodes share.
func (n *node) openTasks() (err error) {
	n.openCollector()
	n.tasks, err = task.New(task.Config{
		KV: n.kv, Members: n.member, Kinds: n.kinds(), Schedule: n.periodic(), Now: wallClock, Log: n.log,
		Retention: func() time.Duration { return time.Duration(n.registry.Settings().TaskRetention) * time.Second },
	})
	return err
}

// kinds lists every kind of task.
func (n *node) kinds() []task.Kind {
	return []task.Kind{
		n.collector,
	}
}

// periodic lists what is started without being asked for.
func (n *node) periodic() []task.Periodic {
	return []task.Periodic{
		n.collector.Periodic(),
	}
}

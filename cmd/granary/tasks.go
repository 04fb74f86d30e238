package main

import (
	"time"

	"granary/cluster/task"
	"granary/gc/audit"
	"granary/gc/rebuild"
	"granary/gc/retention"
	"granary/repo/jobs"
)

// openTasks prepares the work that nodes share.
func (n *node) openTasks() (err error) {
	n.openCollector()
	kinds := n.kinds()
	n.instruments.tasks = newTaskMetrics(kinds)
	n.tasks, err = task.New(task.Config{
		KV: n.kv, Members: n.member, Kinds: kinds, Observer: taskMetrics{n.instruments.tasks, n.out.traces}, Schedule: n.periodic(), Now: wallClock, Log: n.log,
		Retention: func() time.Duration { return time.Duration(n.registry.Settings().TaskRetention) * time.Second },
	})
	return err
}

// kinds lists every kind of task.
func (n *node) kinds() []task.Kind {
	kinds := []task.Kind{
		n.collector,
		audit.New(audit.Config{
			KV: n.kv, Registry: n.registry, Store: n.repos.Store, Records: n.records, Refs: n.repos.Refs, Remove: n.repos.RemoveRecord,
			Restore: n.repos.Restore, Now: wallClock, Rate: n.config.AuditRate,
		}),
		&rebuild.Kind{Registry: n.registry, Records: n.records, Now: wallClock},
		retention.NewKind(&retention.Planner{Repositories: n.repos, Records: n.records, Now: wallClock}, n.registry, n.instruments.background.Cleaned),
	}
	return append(kinds, jobs.Kinds(n.repos, n.registry)...)
}

// periodic lists what is started without being asked for.
func (n *node) periodic() []task.Periodic {
	return []task.Periodic{
		{Kind: jobs.HistoryKind, Due: task.Every(func() time.Duration { return jobs.HistoryEvery }, wallClock)},
		{Kind: retention.KindName, Due: retention.Due(n.registry, wallClock)},
		n.collector.Periodic(),
	}
}

package rest

import (
	"context"
	"net/http"
	"time"

	"granary/cluster"
	"granary/httpapi/exchange"
)

// Members tells of the nodes; [cluster.Node] does.
type Members interface {
	Nodes(ctx context.Context) ([]cluster.Info, error)
	Leases(ctx context.Context) ([]cluster.LeaseInfo, error)
}

// Cluster is what the nodes know of each other.
type Cluster struct {
	Nodes  []ClusterNode  `json:"nodes" nullable:"false"`
	Leases []ClusterLease `json:"leases" nullable:"false"`
}

// ClusterNode is a process.
type ClusterNode struct {
	ID          string    `json:"id"`
	Version     string    `json:"version"`
	StartedAt   Timestamp `json:"started_at" doc:"By the node's own clock."`
	UptimeSecs  int64     `json:"uptime_secs"`
	Alive       bool      `json:"alive"`
	Self        bool      `json:"self" doc:"The node that answers."`
	SilentSecs  float64   `json:"silent_secs" doc:"Since the last beat that the node which answers knows of."`
	ConfigEpoch uint64    `json:"config_epoch" doc:"Of the configuration that the node has loaded."`
	TaskShards  int       `json:"task_shards" doc:"Shards of tasks that the node holds."`
}

// ClusterLease is work that one node does at a time.
type ClusterLease struct {
	Name   string `json:"name"`
	Holder string `json:"holder" doc:"A node's id; one that is not listed is gone."`
	Epoch  uint64 `json:"epoch"`
}

func (a *api) cluster() {
	if a.Members == nil || a.Tasks == nil {
		return
	}
	register(a, operation{id: "get-cluster", method: http.MethodGet, path: "/cluster", summary: "Show the nodes, and what they are at", tag: "cluster"}, a.getCluster)
}

func (a *api) getCluster(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[Cluster], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	nodes, err := a.Members.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	leases, err := a.Members.Leases(ctx)
	if err != nil {
		return nil, err
	}
	held, err := a.Tasks.Held(ctx)
	if err != nil {
		return nil, err
	}
	out := Cluster{Nodes: make([]ClusterNode, 0, len(nodes)), Leases: make([]ClusterLease, 0, len(leases))}
	for _, n := range nodes {
		out.Nodes = append(out.Nodes, ClusterNode{
			ID: n.ID, Version: n.Version, StartedAt: Timestamp(n.Started), UptimeSecs: int64(n.Uptime / time.Second),
			Alive: n.Alive, Self: n.Self, SilentSecs: n.Silent.Seconds(), ConfigEpoch: n.Epoch, TaskShards: held[n.ID],
		})
	}
	for _, l := range leases {
		out.Leases = append(out.Leases, ClusterLease{l.Name, l.Holder, l.Epoch})
	}
	return &answer[Cluster]{out}, nil
}

package config

import "slices"

func (r *Repository) validateMembers(k Known) error {
	if r.Type != Proxy {
		switch {
		case len(r.Members) > 0:
			return invalid("members", "only a proxy has members")
		case r.WriteMember != "":
			return invalid("write_member", "only a proxy has one")
		}
		return nil
	}
	switch {
	case len(r.Members) == 0 && !k.emptied:
		return invalid("members", "a proxy needs at least one")
	case len(r.Members) > maxMembers:
		return invalid("members", "there are %d, at most %d are allowed", len(r.Members), maxMembers)
	}
	seen := make(map[string]bool, len(r.Members))
	for _, id := range r.Members {
		m := k.Repositories[id]
		switch {
		case id == r.ID:
			return invalid("members", "a proxy can't be its own member")
		case m == nil:
			return invalid("members", "one of them does not exist")
		case seen[id]:
			return invalid("members", "%s is named twice", m.Name)
		case m.Format != r.Format:
			return invalid("members", "%s is of format %s, not %s", m.Name, m.Format, r.Format)
		}
		seen[id] = true
	}
	if w := r.WriteMember; w != "" {
		switch {
		case !slices.Contains(r.Members, w):
			return invalid("write_member", "must be one of the members")
		case k.Repositories[w].Type == Cache:
			return invalid("write_member", "%s is a cache, which takes no uploads", k.Repositories[w].Name)
		}
	}
	return r.validateNesting(k)
}

// validateNesting refuses cycles through r, and chains of groups through r
// that are too long. Chains that r is not part of are not its fault.
func (r *Repository) validateNesting(k Known) error {
	down := map[string][]string{r.ID: r.Members}
	up := map[string][]string{}
	for id, g := range k.Repositories {
		if g.Type == Proxy && id != r.ID {
			down[id] = g.Members
		}
	}
	for id := range down {
		up[id] = nil // those that nothing contains count too
	}
	for id, members := range down {
		for _, m := range members {
			if _, group := down[m]; group {
				up[m] = append(up[m], id)
			}
		}
	}
	below, loop := chain(down, r.ID)
	if loop {
		return invalid("members", "the proxy would contain itself")
	}
	above, _ := chain(up, r.ID)
	if below+above-1 > MaxNesting {
		return invalid("members", "proxies would be nested deeper than %d", MaxNesting)
	}
	return nil
}

// chain returns the number of groups on the longest way from one group along
// edges, itself included, and whether a way leads back to it. Edges to what is
// no group count nothing. Other cycles, which only a race can have made, end
// where they close.
func chain(edges map[string][]string, from string) (longest int, loop bool) {
	length := map[string]int{} // 0 while the group is being visited
	var visit func(id string) int
	visit = func(id string) int {
		if n, ok := length[id]; ok {
			loop = loop || id == from
			return n
		}
		length[id] = 0
		n := 0
		for _, next := range edges[id] {
			if _, group := edges[next]; group {
				n = max(n, visit(next))
			}
		}
		length[id] = n + 1
		return n + 1
	}
	return visit(from), loop
}

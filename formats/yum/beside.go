package yum

import (
	"context"
	"errors"
	"io"

	"granary/formats"
)

// side is filelists or other, read as far as the packages of primary go. They
// are in the same order where createrepo wrote them; what is not waits.
type side[T identified] struct {
	*elements // nil: the upstream has none
	apart     map[string]T
	weight    int
}

// identified is a package's element in one of them.
type identified interface {
	id() string
	weight() int
}

func beside[T identified](ctx context.Context, scope, kind string, list []upstreamData, src formats.Source) (*side[T], error) {
	s := &side[T]{apart: map[string]T{}}
	d, ok := find(list, kind)
	if !ok {
		return s, nil
	}
	o, err := open(ctx, scope, d, src)
	if err != nil {
		return nil, err
	}
	s.elements = newElements(o)
	return s, nil
}

// Close ends reading.
func (s *side[T]) Close() {
	if s.elements != nil {
		s.opened.Close()
	}
}

// of returns the element of a package, the zero value if there is none.
func (s *side[T]) of(id string) (T, error) {
	var zero T
	if x, ok := s.apart[id]; ok {
		delete(s.apart, id)
		s.weight -= x.weight()
		return x, nil
	}
	for s.elements != nil {
		var x T
		err := s.next(&x)
		if err == io.EOF { //nolint:errorlint // plain by contract
			return zero, nil
		}
		if err != nil {
			return zero, err
		}
		if x.id() == id {
			return x, nil
		}
		if s.weight += x.weight(); s.weight > maxApart {
			return zero, s.wrong(errors.New("its packages are in another order than those of primary"))
		}
		s.apart[x.id()] = x
	}
	return zero, nil
}

package formats

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// UnmarshalYAML reads a document of strangers into a value. The package that does
// it compares each key of a mapping with each other and keeps a sentence for each
// two that are alike: a megabyte of keys takes minutes, or all memory that
// there is. So keys that are there twice, and mappings of thousands of keys, are
// refused beforehand.
func UnmarshalYAML(data []byte, into any) error {
	var n yaml.Node
	if err := yaml.Unmarshal(data, &n); err != nil {
		return err
	}
	work := 1<<20 + 2*len(data)
	return DecodeYAML(&n, into, &work)
}

// DecodeYAML is UnmarshalYAML for what is parsed already. It takes from work what
// decoding costs, in nodes met and keys compared, and refuses what costs more
// than is left.
func DecodeYAML(n *yaml.Node, into any, work *int) error {
	if err := chargeYAML(n, work, 0); err != nil {
		return err
	}
	return n.Decode(into)
}

// maxYAMLDepth is how deep a document may be nested, by way of its aliases too.
const maxYAMLDepth = 10_000

var errYAMLWork = errors.New("its mappings have too many keys, or its aliases stand for too much")

func chargeYAML(n *yaml.Node, work *int, depth int) error {
	if depth > maxYAMLDepth {
		return errors.New("it is nested too deep")
	}
	cost := 1
	if n.Kind == yaml.MappingNode {
		keys := len(n.Content) / 2
		cost += keys * keys / 2
	}
	if *work -= cost; *work < 0 {
		return errYAMLWork
	}
	if n.Kind == yaml.MappingNode {
		if err := distinctKeys(n); err != nil {
			return err
		}
	}
	if n.Kind == yaml.AliasNode {
		return chargeYAML(n.Alias, work, depth+1)
	}
	for _, child := range n.Content {
		if err := chargeYAML(child, work, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func distinctKeys(n *yaml.Node) error {
	type key struct {
		kind  yaml.Kind
		value string
	}
	seen := make(map[key]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if line, ok := seen[key{k.Kind, k.Value}]; ok {
			return fmt.Errorf("line %d: the key %.100q is there already at line %d", k.Line, k.Value, line)
		}
		seen[key{k.Kind, k.Value}] = k.Line
	}
	return nil
}
